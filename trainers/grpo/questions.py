"""Questions of a run, in an order that the seed and a position determine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.core import Sample
from deepeyes_env.data import Dataset, load
from deepeyes_env.data.dataset import BUILT_IN, VISUAL_SEARCH
from deepeyes_env.data.visual_search import VisualSearch, built_in
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import DEFAULT_FACTOR, ViewBudget
from deepeyes_env.trainers.grpo.config import Config, model_folder
from deepeyes_env.trainers.grpo.rollouts import EpisodeSpec

logger = logging.getLogger(__name__)

ENDLESS = 1_000_000
"""Number of scenes of the built-in task: more than a run plays."""

_ENV, _SAMPLING, _EVALUATION = range(3)


class Questions:
    """The questions of a run: for training from a shuffled data set, epoch after epoch, and held out for evaluation.

    Everything follows from the run's seed and a position, the number of questions asked so far: there is no other
    state to be saved.

    Attributes:
        dataset: What environments are given as their data set: a ``VisualSearch``, or the path of a file.
        view: View budget for images of a file; ``None`` for the built-in task, which brings its own. It shows images in
            sizes that the model's own image processor leaves as they are: so does a server of the trained weights.
        held_out: Questions for evaluation, never trained on.

    Args:
        config: The run.

    Raises:
        DataError: The data cannot be read.
        UsageError: It holds too few questions to keep some for evaluation.
    """

    def __init__(self, config: Config) -> None:
        self._seed = config.seed
        number = config.evaluation.samples
        if config.data in BUILT_IN:
            self.dataset: Any = scenes(config, "train", config.seed, ENDLESS)
            self.view = None
            self._size = ENDLESS
            self.held_out: Sequence[Sample] = list(scenes(config, "test", config.evaluation.seed, number))
            return
        self.dataset = config.data
        self.view = file_view(config)
        source = load(config.data)
        other = load(config.evaluation.data) if config.evaluation.data else None
        self._size = len(source) - (0 if other else number)
        if self._size < 1:
            raise UsageError(
                f"data {config.data!r} has {len(source)} questions, and evaluation.samples={number} of them are held "
                "out: lower it, or name other questions by evaluation.data"
            )
        self.held_out = _last(other, min(number, len(other))) if other else _last(source, number)

    def specs(self, position: int, prompts: int, group_size: int, *, greedy_first: bool = False) -> list[EpisodeSpec]:
        """Return how the episodes of the next questions begin, group by group.

        Args:
            position: Number of questions asked so far.
            prompts: How many questions to ask.
            group_size: Episodes of each.
            greedy_first: Whether the first episode of each group is greedy: a baseline for the others.
        """
        return [
            EpisodeSpec(
                seed=_drawn(self._seed, _ENV, place),
                source=self._index(place),
                sampling_seed=(self._seed, _SAMPLING, place, member),
                group=place,
                greedy=greedy_first and member == 0,
            )
            for place in range(position, position + prompts)
            for member in range(group_size)
        ]

    def held_out_specs(self) -> list[EpisodeSpec]:
        """Return how the episodes of evaluation begin; the same random numbers every time."""
        return [
            EpisodeSpec(seed=number, source=sample, sampling_seed=(self._seed, _EVALUATION, number), group=-1 - number)
            for number, sample in enumerate(self.held_out)
        ]

    def _index(self, place: int) -> int:
        epoch, within = divmod(place, self._size)
        return int(_order(self._seed, epoch, self._size)[within])


def file_view(config: Config) -> ViewBudget:
    """Return the view budget for images of a file: what the settings allow within what the model's processor does.

    A built-in task brings its own.
    """
    if config.data in BUILT_IN:
        return scenes(config, "train", 0, 1).view
    asked = ViewBudget(config.env.min_pixels, config.env.max_pixels)
    folder = model_folder(config)
    check_directory(folder)
    view = family_of(folder).view_within(asked)
    if view != asked:
        logger.info("the model's image processor bounds what is shown: %s in place of %s", view, asked)
    return view


def scenes(config: Config, split: Any, seed: int, length: int) -> VisualSearch:
    """Return the built-in task of a run: ``visual_search`` with the run's settings, any other as its name has it."""
    family = family_of(model_folder(config)).view
    factor = family.factor if family else DEFAULT_FACTOR
    if config.data != VISUAL_SEARCH:
        task = built_in(config.data, split=split, seed=seed, length=length)
        return replace(task, view=replace(task.view, factor=factor))
    settings = config.scenes
    pixels = settings.view_pixels
    return VisualSearch(
        split=split,
        length=length,
        seed=seed,
        size=settings.size,
        view=ViewBudget(pixels, pixels, factor),
        tasks=settings.tasks,  # type: ignore[arg-type]
        objects=settings.objects,
        shapes=settings.shapes,
        easy=settings.easy,
        clutter=settings.clutter,
    )


def _last(dataset: Dataset, number: int) -> list[Sample]:
    return [dataset[index] for index in range(len(dataset) - number, len(dataset))]


def _drawn(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
