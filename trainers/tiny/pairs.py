"""Examples over two images: which of them a question means decides which square is looked at, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.core import Message
from deepeyes_env.trainers.tiny.examples import Example, ExampleDraft, ExampleWriter
from deepeyes_env.trainers.tiny.phrases import box_of, locate, names
from deepeyes_env.trainers.tiny.scenes import Crops, Picture, Square, TrainingScene
from deepeyes_env.trainers.tiny.task import TinyTask

_FEW = 3
"""Most boxes that an example asks for."""


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """Two scenes that hold a square of the same colour, with another pattern on it.

    Attributes:
        scenes: The scenes.
        image: In which of them the pattern is asked for.
        targets: Number of the square in each of them.
    """

    scenes: tuple[TrainingScene, TrainingScene]
    image: int
    targets: tuple[int, int]

    @property
    def easy(self) -> bool:
        """Whether the views show the patterns."""
        return self.scenes[0].easy

    def square(self, image: int) -> Square:
        """Return the square of the colour in one of the scenes."""
        return self.scenes[image].view.squares[self.targets[image]]

    def crops(self, image: int, kind: Crops) -> list[Picture]:
        """Return the crops of that square in one of the scenes."""
        return [crop for crop in self.scenes[image].crops(kind) if crop.target == self.targets[image]]


def draw_pair(draw: Callable[[], TrainingScene], rng: np.random.Generator) -> TrainingPair:
    """Draw scenes until two fit together.

    Args:
        draw: Draws a scene.
        rng: Chooses the image and the square that are asked for.
    """
    while True:
        one, other = draw(), draw()
        target, image = int(rng.integers(len(one.view.squares))), int(rng.integers(2))
        asked = one.view.squares[target]
        for number, square in enumerate(other.view.squares):
            if square.colour == asked.colour and square.pattern != asked.pattern and one.easy == other.easy:
                if image == 0:
                    return TrainingPair((one, other), image, (target, number))
                return TrainingPair((other, one), image, (number, target))


class PairWriter(ExampleWriter[TrainingPair]):
    """Writes examples about pairs of scenes; of zooms, some are into the wrong image.

    Args:
        chat: Tokenizes conversations.
        phrases: The texts of the task.
        rng: Chooses what is asked.
    """

    def grounding(self, scene: TrainingPair) -> Example:
        """Give the boxes of some squares of both images, in random order."""
        draft = ExampleDraft()
        views = [each.view for each in scene.scenes]
        places = [(image, square) for image, view in enumerate(views) for square in view.squares]
        for turn, number in enumerate(self._rng.permutation(len(places))[:_FEW]):
            image, square = places[number]
            if turn == 0:
                shown = [view.image for view in views]
                conversation = self._phrases.told_to_locate(square.colour, shown, image)
                self._add_context(draft, self._chat.prompt(conversation), *views)
            else:
                asked = Message(locate(square.colour, image, self._phrases.task))
                self._add_context(draft, self._chat.observation(asked, self._chat.end_of_turn))
            self._add_target(draft, box_of(square.colour, square.box, self._phrases.task, image))
        return self._example(draft)

    def reading(self, scene: TrainingPair) -> Example:
        """Answer from two crops alone."""
        crops = [scene.crops(image, "good") for image in range(2)]
        square = scene.square(scene.image)
        views = [own[self._rng.integers(len(own))] for own in crops]
        return self._answered(square.colour, square.pattern, views, scene.image)

    def playing(self, scene: TrainingPair, crops: Crops, zooms: float) -> Example:
        """Play an episode: zoom with a probability, then answer.

        Where bad crops are wanted, half of them are, and half of those are of the wrong image; then the answer is what
        is there. Were all bad, no zoom would pay, and reinforcement learning would learn not to zoom.
        """
        views = [each.view for each in scene.scenes]
        square, looked, zoomed = scene.square(scene.image), scene.image, None
        if zooms and self._rng.random() < zooms:
            if crops == "bad":
                crops = "good" if self._rng.random() < 0.5 else "bad"
                looked = 1 - looked if crops == "bad" and self._rng.random() < 0.5 else looked
            own = scene.crops(looked, crops)
            zoomed = own[self._rng.integers(len(own))]
        return self._answered(square.colour, scene.square(looked).pattern, views, scene.image, zoomed, looked)


def begin_as(policy: VisionPolicy, known: VisionPolicy, task: TinyTask) -> None:
    """Give a policy the weights of another of the same shape.

    Of tokens that the other does not have, what a square is called begins as its colour and a mark of its image; all
    others keep the weights that they were made with.
    """
    ids, others = policy.tokenizer.get_vocab(), known.tokenizer.get_vocab()
    words, rows = (each.model.get_input_embeddings().weight for each in (policy, known))
    weights = known.model.state_dict()
    marks = torch.randn(task.images, rows.shape[1]) * rows.std()
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if weight is not words:
                weight.copy_(weights[name])
        for token in ids.keys() & others.keys():
            words[ids[token]] = rows[others[token]]
        for text, (colour, image) in names(task).items():
            words[policy.tokenizer(text).input_ids[0]] = rows[others[colour]] + marks[image]
