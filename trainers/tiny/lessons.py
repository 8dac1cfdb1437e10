"""Lessons: conversations to imitate, and where in them it pays to look.

A lesson is a ``TokenSequence`` whose mask marks what is to be imitated, and
pointers: places where the colour of an object is named, with the image tokens that show it. Supervising attention there
is what makes the policy bind a colour to a box: without it, the question was ignored as soon as there were two objects.
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
from deepeyes_env.trainers.tiny.scenes import Picture, Study


@dataclass(frozen=True, slots=True)
class Pointer:
    """A place where an object is named.

    Attributes:
        place: Which token names it.
        shown: Places of the image tokens that show it.
        marked: Places of those in which its pattern can be read; all that show it if there are none.
    """

    place: int
    shown: tuple[int, ...]
    marked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A conversation to imitate.

    Attributes:
        tokens: The mask marks what is to be imitated.
        pointers: Where it pays to look.
    """

    tokens: TokenSequence
    pointers: tuple[Pointer, ...]


@dataclass(slots=True)
class _Page:
    """A conversation being written."""

    parts: list[TokenSequence] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


class Teacher:
    """Makes lessons of scenes.

    Args:
        chat: Writes conversations as tokens.
        phrases: What is said in them.
        rng: Decides who is asked for.
    """

    def __init__(self, chat: Chat, phrases: Phrases, rng: np.random.Generator) -> None:
        self._chat = chat
        self._phrases = phrases
        self._rng = rng
        vocabulary = chat.tokenizer.get_vocab()
        self._colours: dict[int, str] = {vocabulary[colour]: colour for colour in COLOURS}

    def grounding(self, study: Study) -> Lesson:
        """Give the box of each object, in random order."""
        page = _Page()
        for turn, number in enumerate(self._rng.permutation(len(study.view.squares))):
            square = study.view.squares[number]
            if turn == 0:
                conversation = self._phrases.told_to_locate(square.colour, study.view.image)
                self._hear(page, self._chat.prompt(conversation), study.view)
            else:
                self._hear(page, self._chat.observation(Message(locate(square.colour)), self._chat.end_of_turn))
            self._say(page, box_of(square.colour, square.box))
        return self._lesson(page)

    def reading(self, study: Study) -> Lesson:
        """Answer from a crop alone."""
        crop = study.good[self._rng.integers(len(study.good))]
        return self._answered(crop, crop.target, None)

    def playing(self, study: Study, crops: Sequence[Picture], zooms: float) -> Lesson:
        """Play an episode: zoom with a probability, into one of the crops, then answer."""
        target = int(self._rng.integers(len(study.view.squares)))
        own = [crop for crop in crops if crop.target == target]
        zoomed = own[self._rng.integers(len(own))] if own and self._rng.random() < zooms else None
        return self._answered(study.view, target, zoomed)

    def _answered(self, picture: Picture, target: int, zoomed: Picture | None) -> Lesson:
        page, square = _Page(), picture.squares[target]
        options = [TEXTURES[number] for number in self._rng.permutation(len(TEXTURES))]
        self._hear(page, self._chat.prompt(self._phrases.asked(square.colour, options, picture.image)), picture)
        if zoomed is not None:
            self._say(page, zoom(square.colour, zoomed.box))
            reply = Message(self._phrases.reply, (zoomed.image,))
            self._hear(page, self._chat.observation(reply, self._chat.end_of_turn), zoomed)
        self._say(page, answer(square.colour, square.pattern))
        return self._lesson(page)

    def _hear(self, page: _Page, said: TokenSequence, picture: Picture | None = None) -> None:
        page.parts.append(said)
        page.pictures += [picture] if picture else []

    def _say(self, page: _Page, text: str) -> None:
        ids = np.array([*self._chat.tokenizer(text).input_ids, self._chat.end_of_turn], np.int64)
        page.parts.append(TokenSequence(ids, np.ones(len(ids), np.bool_), np.zeros(len(ids), np.float32)))

    def _lesson(self, page: _Page) -> Lesson:
        tokens = TokenSequence.concatenated(page.parts)
        return Lesson(tokens, tuple(self._pointers(tokens, page.pictures)))

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


def images_of(lessons: Sequence[Lesson]) -> list[ImageRef]:
    """Return the images of some lessons, in order."""
    return [image for lesson in lessons for image in lesson.tokens.images]
