"""Build the tiny policy, in place of Qwen's pretraining: from scratch, or for two images from the one that ships.

1. Pictures: vision pretraining. Each image token predicts the colour, pattern and box of the object that it shows.
2. Examples: imitation of boxes, answers from crops, and whole episodes, with supervised attention at colour words.
3. Debias: fine-tuning that makes zooms rare and mostly wrong, so that reinforcement learning has something to learn.
   Grounding examples stay in the mix: the policy can still give a box when asked for one.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.checksums import CHECKSUMS
from deepeyes_env.files import check_folder, replacing_folder
from deepeyes_env.output_folder import OutputFolder
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.tiny.examples import Example, ExampleWriter, SceneWriter
from deepeyes_env.trainers.tiny.losses import ImitationLoss, PictureLoss, gradient_step
from deepeyes_env.trainers.tiny.model import build_model, processor_settings
from deepeyes_env.trainers.tiny.pairs import PairWriter, TrainingPair, begin_as, draw_pair
from deepeyes_env.trainers.tiny.phrases import phrases
from deepeyes_env.trainers.tiny.scenes import Picture, TrainingScene, draw_training_scenes
from deepeyes_env.trainers.tiny.task import TASKS, TINY, TinyTask
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer

TINY_POLICY = OutputFolder(
    "tiny policy",
    (
        *("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json"),
        *("model.safetensors", "tokenizer.json", "chat_template.jinja", CHECKSUMS),
    ),
)
"""The model directory that ``build`` writes."""

Scenes: TypeAlias = Sequence[Sequence[TrainingScene]]
"""Scenes by number of objects, from 1."""

Draw: TypeAlias = Callable[[Scenes, Sequence[float]], Any]
"""Draws what an example is about: from scenes, with shares by number of objects."""

Report = Callable[[str, int, int], None]
"""Progress callback: called with the stage, the step, and the number of steps."""

SCENES = {1: 800, 2: 900, 3: 1300}
"""How many scenes are drawn, by number of objects."""

SCENES_OF_PAIRS = {1: 160, 2: 300, 3: 600}
"""The same for a policy that begins as the shipped one."""

ZOOMS = 0.2
"""Share of the episodes of stage 3 that zoom."""

POINTING = 0.3
"""Weight of the loss of the supervised attention."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How long a stage is.

    Attributes:
        steps: Optimizer steps.
        lr: Largest learning rate.
        batch: Pictures or examples in a step.
    """

    steps: int
    lr: float
    batch: int


@dataclass(frozen=True, slots=True)
class Curriculum:
    """The three stages of building the tiny policy."""

    pictures: Stage = Stage(1050, 4e-3, 40)
    examples: Stage = Stage(710, 2e-3, 32)
    debias: Stage = Stage(160, 1e-3, 32)


FROM_SHIPPED = Curriculum(Stage(0, 0, 0), Stage(440, 2e-3, 16), Stage(60, 1e-3, 16))
"""The stages of a policy that begins as the shipped one, which knows the pictures."""


def build(
    out: Path,
    seed: int = 0,
    curriculum: Curriculum | None = None,
    report: Report | None = None,
    task: TinyTask = TINY,
) -> float:
    """Build the policy and write it as a model directory, weights in ``float16``.

    Two builds with the same seed on one machine, with the same versions of torch and transformers and the same number
    of CPUs, give the same weights bit by bit.

    Args:
        out: The directory; replaced only once everything is done.
        seed: Decides scenes, initial weights and the order of examples.
        curriculum: How long each stage is.
        report: Progress callback.
        task: The family, with its scenes. One over two images begins as the shipped policy.

    Returns:
        The seconds that it took.

    Raises:
        FileExistsError: The directory holds what ``build`` did not write; nothing is built or deleted.
        OSError: It cannot be written to.
    """
    TINY_POLICY.check(out)
    check_folder(out)
    began = time.perf_counter()
    from_shipped = task.images > 1
    curriculum = curriculum or (FROM_SHIPPED if from_shipped else Curriculum())
    report = report or (lambda *_: None)
    cores = os.cpu_count() or 1
    torch.set_num_threads(min(2, cores))
    report("scenes", 0, 1)
    scenes = draw_training_scenes(SCENES_OF_PAIRS if from_shipped else SCENES, seed, processes=min(4, cores), task=task)
    tokenizer = build_tokenizer(phrases(task).fragments())
    policy = VisionPolicy(build_model(tokenizer, seed, task), tokenizer)
    if from_shipped:
        begin_as(policy, VisionPolicy.load(BASE), task)
    learn(policy, scenes, curriculum, np.random.default_rng(seed), report, task)
    write(policy, out)
    return time.perf_counter() - began


@contextmanager
def deterministic() -> Iterator[None]:
    """Let torch add up in a fixed order: threads that share a sum otherwise round it in another one each time."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def learn(
    policy: VisionPolicy,
    scenes: Scenes,
    curriculum: Curriculum,
    rng: np.random.Generator,
    report: Report = lambda *_: None,
    task: TinyTask = TINY,
) -> None:
    """Go through the three stages; equal arguments and numbers of threads give equal weights.

    Args:
        policy: The model, untrained.
        scenes: Scenes by number of objects, from 1.
        curriculum: How long each stage is.
        rng: Decides the order of examples.
        report: Progress callback.
        task: What is learned.
    """
    with deterministic():
        if curriculum.pictures.steps:
            learn_pictures(policy, scenes, curriculum.pictures, rng, report)
            # The keys of the first layer start equal to its queries: a word attends to what resembles it.
            attention = policy.model.model.language_model.layers[0].self_attn
            with torch.no_grad():
                attention.k_proj.weight.copy_(attention.q_proj.weight)
        if task.images == 1:
            writer: ExampleWriter[Any] = SceneWriter(policy.chat, phrases(task), rng)
            draw: Draw = partial(_drawn, rng=rng)
        else:
            writer, draw = PairWriter(policy.chat, phrases(task), rng), partial(_drawn_pair, rng=rng)
        learn_examples(policy, scenes, curriculum.examples, writer, draw, rng, report)
        debias_zooms(policy, scenes, curriculum.debias, writer, draw, rng, report)


def learn_pictures(
    policy: VisionPolicy,
    scenes: Scenes,
    stage: Stage,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Stage 1: vision pretraining."""
    loss = PictureLoss(policy)
    optimizer = torch.optim.AdamW(loss.weights(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(1, stage.steps + 1):
        pictures = [_picture(_drawn(scenes, (1, 1, 1), rng), rng) for _ in range(stage.batch)]
        gradient_step(optimizer, loss(sorted(pictures, key=lambda each: each.image.size)), _lr(stage, step, 30))
        report("pictures", step, stage.steps)


def learn_examples(
    policy: VisionPolicy,
    scenes: Scenes,
    stage: Stage,
    writer: ExampleWriter[Any],
    draw: Draw,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Stage 2: imitation, first of scenes with one object."""
    easy = [[scene for scene in group if scene.easy] for group in scenes]

    def example(progress: float) -> Example:
        scene = draw(scenes, (5, 3, 2) if progress < 0.15 else (1, 3, 6))
        grounding = 0.5 if progress < 0.5 else 0.25
        kind = rng.random()
        if kind < grounding:
            return writer.grounding(scene)
        if kind < grounding + 0.2:
            return writer.reading(scene)
        if kind > 0.85:
            return writer.playing(draw(easy, (0, 0, 1)), "good", 0)
        return writer.playing(scene, "good", 0.05 if scene.easy else 0.9)

    imitate(policy, stage, example, "examples", report)


def debias_zooms(
    policy: VisionPolicy,
    scenes: Scenes,
    stage: Stage,
    writer: ExampleWriter[Any],
    draw: Draw,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Stage 3: imitation of episodes with few zooms, most of which miss the object."""

    def example(progress: float) -> Example:
        scene = draw(scenes, (1, 3, 6))
        kind = rng.random()
        if kind < 0.15:
            return writer.grounding(scene)
        if kind < 0.25:
            return writer.reading(scene)
        return writer.playing(scene, "bad", ZOOMS)

    imitate(policy, stage, example, "debias", report)


def write(policy: VisionPolicy, out: Path) -> None:
    """Write the model directory beside its place, then move it there.

    Raises:
        FileExistsError: The directory holds what ``write`` did not write.
    """
    TINY_POLICY.check(out)
    settings = processor_settings(TASKS[policy.model.config.model_type])
    policy.model.half()
    try:
        with replacing_folder(out) as beside:
            TINY_POLICY.claim(beside)
            policy.save(beside)
            (beside / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    finally:
        policy.model.float()


def imitate(policy: VisionPolicy, stage: Stage, example: Callable[[float], Example], name: str, report: Report) -> None:
    """Imitate examples.

    Args:
        policy: The model.
        stage: How long.
        example: Returns an example; it is given how much of the stage is over, 0 to 1.
        name: What the stage is called in reports.
        report: Progress callback.
    """
    loss = ImitationLoss(policy)
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(1, stage.steps + 1):
        imitation, pointing = loss([example(step / stage.steps) for _ in range(stage.batch)])
        gradient_step(optimizer, imitation + POINTING * pointing, _lr(stage, step, 50))
        report(name, step, stage.steps)


def _lr(stage: Stage, step: int, warmup: int) -> float:
    """Warm up, then fall to a twentieth along a cosine."""
    fallen = 0.5 * (1 + math.cos(math.pi * step / stage.steps)) * 0.95 + 0.05
    return stage.lr * min(1.0, step / warmup) * fallen


def _drawn(scenes: Scenes, shares: Sequence[float], rng: np.random.Generator) -> TrainingScene:
    """Draw a scene; shares are by number of objects."""
    group = scenes[int(rng.choice(len(scenes), p=np.array(shares) / sum(shares)))]
    return group[int(rng.integers(len(group)))]


def _drawn_pair(scenes: Scenes, shares: Sequence[float], rng: np.random.Generator) -> TrainingPair:
    """Draw two scenes that go together."""
    return draw_pair(lambda: _drawn(scenes, shares, rng), rng)


def _picture(scene: TrainingScene, rng: np.random.Generator) -> Picture:
    return scene.view if rng.random() < 0.5 else scene.good[rng.integers(len(scene.good))]
