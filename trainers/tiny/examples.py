"""Examples for imitation learning: conversations, with targets for the attention of the first layer.

An example is a ``TokenSequence`` whose mask marks the tokens to imitate, and pointers: positions where the colour of an
object is named, with the image tokens that show that object. Supervised attention at these positions makes the policy
bind a colour to a box: without it, the question was ignored as soon as there were two objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from deepeyes_env.agents.transformers.chat import Chat
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import Message
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.tiny.phrases import Phrases, answer, box_of, locate, names, zoom
from deepeyes_env.trainers.tiny.scenes import Crops, Picture, TrainingScene

Drawn = TypeVar("Drawn")
"""What examples are about."""


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
class ExampleDraft:
    """A conversation being written."""

    parts: list[TokenSequence] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


class ExampleWriter(ABC, Generic[Drawn]):
    """Writes examples of each kind.

    Args:
        chat: Tokenizes conversations.
        phrases: The texts of the task.
        rng: Chooses what is asked.
    """

    def __init__(self, chat: Chat, phrases: Phrases, rng: np.random.Generator) -> None:
        self._chat = chat
        self._phrases = phrases
        self._rng = rng
        # By the token: its colour, and in which of the question's images it is.
        meant: dict[str, tuple[str, int | None]] = {colour: (colour, None) for colour in COLOURS}
        meant |= names(phrases.task)
        self._named = {int(chat.tokenizer(text).input_ids[0]): each for text, each in meant.items()}

    @abstractmethod
    def grounding(self, scene: Drawn) -> Example:
        """Give the boxes of objects, in random order."""

    @abstractmethod
    def reading(self, scene: Drawn) -> Example:
        """Answer from crops alone."""

    @abstractmethod
    def playing(self, scene: Drawn, crops: Crops, zooms: float) -> Example:
        """Play an episode: zoom with a probability, into a good or a bad crop, then answer."""

    def _answered(
        self,
        colour: str,
        pattern: str,
        views: Sequence[Picture],
        image: int = 0,
        zoomed: Picture | None = None,
        looked: int = 0,
    ) -> Example:
        """Ask for the pattern on a square of one of the images, zoom into one if so wanted, and answer."""
        draft, phrases = ExampleDraft(), self._phrases
        options = [TEXTURES[number] for number in self._rng.permutation(len(TEXTURES))]
        asked = phrases.asked(colour, options, [view.image for view in views], image)
        self._add_context(draft, self._chat.prompt(asked), *views)
        if zoomed is not None:
            self._add_target(draft, zoom(colour, zoomed.box, phrases.task, looked))
            reply = Message(phrases.reply, (zoomed.image,))
            self._add_context(draft, self._chat.observation(reply, self._chat.end_of_turn), zoomed)
        self._add_target(draft, answer(colour, pattern, image if zoomed is None else None, phrases.task))
        return self._example(draft)

    def _add_context(self, draft: ExampleDraft, said: TokenSequence, *pictures: Picture) -> None:
        draft.parts.append(said)
        draft.pictures += pictures

    def _add_target(self, draft: ExampleDraft, text: str) -> None:
        ids = np.array([*self._chat.tokenizer(text).input_ids, self._chat.end_of_turn], np.int64)
        draft.parts.append(TokenSequence(ids, np.ones(len(ids), np.bool_), np.zeros(len(ids), np.float32)))

    def _example(self, draft: ExampleDraft) -> Example:
        tokens = TokenSequence.concatenated(draft.parts)
        return Example(tokens, tuple(self._pointers(tokens, draft.pictures)))

    def _pointers(self, tokens: TokenSequence, pictures: Sequence[Picture]) -> list[Pointer]:
        """Point from each object that is named to where it is shown: in the image named, else in what is shown last."""
        pointers = []
        starts = np.flatnonzero(tokens.ids == self._chat.image_token)
        first = [0, *np.cumsum([len(picture.cells.square) for picture in pictures]).tolist()]
        for place in np.flatnonzero(np.isin(tokens.ids, list(self._named))):
            colour, image = self._named[int(tokens.ids[place])]
            last = sum(int(starts[begins] < place) for begins in first[:-1]) - 1
            if last < 0:
                continue
            meant = last if image is None else image
            cells, squares = pictures[meant].cells, pictures[meant].squares
            here = np.isin(cells.square, [number for number, each in enumerate(squares) if each.colour == colour])
            if here.any():
                at = starts[first[meant] : first[meant + 1]]
                seen = tuple(at[here].tolist())
                pointers.append(Pointer(int(place), seen, tuple(at[here & (cells.pattern >= 0)].tolist()) or seen))
        return pointers


class SceneWriter(ExampleWriter[TrainingScene]):
    """Writes examples about scenes.

    Args:
        chat: Tokenizes conversations.
        phrases: The texts of the task.
        rng: Chooses what is asked.
    """

    def grounding(self, scene: TrainingScene) -> Example:
        """Give the box of each object, in random order."""
        draft = ExampleDraft()
        for turn, number in enumerate(self._rng.permutation(len(scene.view.squares))):
            square = scene.view.squares[number]
            if turn == 0:
                conversation = self._phrases.told_to_locate(square.colour, [scene.view.image])
                self._add_context(draft, self._chat.prompt(conversation), scene.view)
            else:
                self._add_context(draft, self._chat.observation(Message(locate(square.colour)), self._chat.end_of_turn))
            self._add_target(draft, box_of(square.colour, square.box, self._phrases.task))
        return self._example(draft)

    def reading(self, scene: TrainingScene) -> Example:
        """Answer from a crop alone."""
        crop = scene.good[self._rng.integers(len(scene.good))]
        square = crop.squares[crop.target]
        return self._answered(square.colour, square.pattern, [crop])

    def playing(self, scene: TrainingScene, crops: Crops, zooms: float) -> Example:
        """Play an episode: zoom with a probability, into one of the crops, then answer."""
        target = int(self._rng.integers(len(scene.view.squares)))
        own = [crop for crop in scene.crops(crops) if crop.target == target]
        zoomed = own[self._rng.integers(len(own))] if zooms and self._rng.random() < zooms else None
        square = scene.view.squares[target]
        return self._answered(square.colour, square.pattern, [scene.view], zoomed=zoomed)


def images_of(examples: Sequence[Example]) -> list[ImageRef]:
    """Return the images of some examples, in order."""
    return [image for example in examples for image in example.tokens.images]
