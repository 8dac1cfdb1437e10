"""Examples for imitation learning: conversations, with targets for the attention of the first layer.

An example is a ``TokenSequence`` whose mask marks the tokens to imitate, and pointers: positions where the colour of an
object is named, with the image tokens that show that object. Supervised attention at these positions makes the policy
bind a colour to a box: without it, the question was ignored as soon as there were two objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deepeyes_env.agents.transformers.chat import Chat
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import Message
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.tiny.phrases import Phrases, answer, box_of, locate, zoom
from deepeyes_env.trainers.tiny.scenes import Picture, TrainingScene


@dataclass(frozen=True, slots=True)
class Pointer:
    """A position where an object is named: a target for the attention of that token.

    Attributes:
        place: Position of the token that names it.
        shown: Positions of the image tokens that show it.
        marked: Positions of those in which its pattern can be read; all that show it if there are none.
    """

    place: int
    shown: tuple[int, ...]
    marked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to imitate.

    Attributes:
        tokens: The mask marks what is to be imitated.
        pointers: Targets of the supervised attention.
    """

    tokens: TokenSequence
    pointers: tuple[Pointer, ...]


@dataclass(slots=True)
class _Draft:
    """A conversation being written."""

    parts: list[TokenSequence] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


class ExampleWriter:
    """Writes examples about scenes.

    Args:
        chat: Tokenizes conversations.
        phrases: The texts of the task.
        rng: Chooses what is asked.
    """

    def __init__(self, chat: Chat, phrases: Phrases, rng: np.random.Generator) -> None:
        self._chat = chat
        self._phrases = phrases
        self._rng = rng
        vocabulary = chat.tokenizer.get_vocab()
        self._colours: dict[int, str] = {vocabulary[colour]: colour for colour in COLOURS}

    def grounding(self, scene: TrainingScene) -> Example:
        """Give the box of each object, in random order."""
        draft = _Draft()
        for turn, number in enumerate(self._rng.permutation(len(scene.view.squares))):
            square = scene.view.squares[number]
            if turn == 0:
                conversation = self._phrases.told_to_locate(square.colour, scene.view.image)
                self._add_context(draft, self._chat.prompt(conversation), scene.view)
            else:
                self._add_context(draft, self._chat.observation(Message(locate(square.colour)), self._chat.end_of_turn))
            self._add_target(draft, box_of(square.colour, square.box, self._phrases.task))
        return self._example(draft)

    def reading(self, scene: TrainingScene) -> Example:
        """Answer from a crop alone."""
        crop = scene.good[self._rng.integers(len(scene.good))]
        return self._answered(crop, crop.target, None)

    def playing(self, scene: TrainingScene, crops: Sequence[Picture], zooms: float) -> Example:
        """Play an episode: zoom with a probability, into one of the crops, then answer."""
        target = int(self._rng.integers(len(scene.view.squares)))
        own = [crop for crop in crops if crop.target == target]
        zoomed = own[self._rng.integers(len(own))] if own and self._rng.random() < zooms else None
        return self._answered(scene.view, target, zoomed)

    def _answered(self, picture: Picture, target: int, zoomed: Picture | None) -> Example:
        draft, square = _Draft(), picture.squares[target]
        options = [TEXTURES[number] for number in self._rng.permutation(len(TEXTURES))]
        self._add_context(draft, self._chat.prompt(self._phrases.asked(square.colour, options, picture.image)), picture)
        if zoomed is not None:
            self._add_target(draft, zoom(square.colour, zoomed.box, self._phrases.task))
            reply = Message(self._phrases.reply, (zoomed.image,))
            self._add_context(draft, self._chat.observation(reply, self._chat.end_of_turn), zoomed)
        self._add_target(draft, answer(square.colour, square.pattern))
        return self._example(draft)

    def _add_context(self, draft: _Draft, said: TokenSequence, picture: Picture | None = None) -> None:
        draft.parts.append(said)
        draft.pictures += [picture] if picture else []

    def _add_target(self, draft: _Draft, text: str) -> None:
        ids = np.array([*self._chat.tokenizer(text).input_ids, self._chat.end_of_turn], np.int64)
        draft.parts.append(TokenSequence(ids, np.ones(len(ids), np.bool_), np.zeros(len(ids), np.float32)))

    def _example(self, draft: _Draft) -> Example:
        tokens = TokenSequence.concatenated(draft.parts)
        return Example(tokens, tuple(self._pointers(tokens, draft.pictures)))

    def _pointers(self, tokens: TokenSequence, pictures: Sequence[Picture]) -> list[Pointer]:
        """Point from each colour that is named to where the picture shown last before it shows that object."""
        pointers = []
        starts = np.flatnonzero(tokens.ids == self._chat.image_token)
        first = [0, *np.cumsum([len(picture.cells.square) for picture in pictures]).tolist()]
        for place in np.flatnonzero(np.isin(tokens.ids, list(self._colours))):
            shown_before = [number for number in range(len(pictures)) if starts[first[number]] < place]
            if not shown_before:
                continue
            last = shown_before[-1]
            colour = self._colours[int(tokens.ids[place])]
            cells = pictures[last].cells
            numbers = [number for number, square in enumerate(pictures[last].squares) if square.colour == colour]
            here = np.isin(cells.square, numbers)
            if here.any():
                at = starts[first[last] : first[last + 1]]
                marked = here & (cells.pattern >= 0)
                shown = tuple(at[here].tolist())
                pointers.append(Pointer(int(place), shown, tuple(at[marked].tolist()) or shown))
        return pointers


def images_of(examples: Sequence[Example]) -> list[ImageRef]:
    """Return the images of some examples, in order."""
    return [image for example in examples for image in example.tokens.images]
