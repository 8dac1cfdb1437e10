"""build: the tiny policy from nothing, as a stand-in for Qwen's pretraining.

1. Pictures: each image token learns to tell the colour, pattern and box of the object in it.
2. Lessons: giving boxes, reading crops, playing episodes, with attention supervised where colours are named.
3. Reluctance: zooms become rare, and mostly miss. What reinforcement learning is to find again is not forgotten: boxes
   are still given when asked for.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.trainers.tiny.lessons import Lesson, Teacher
from deepeyes_env.trainers.tiny.model import PROCESSOR, build_model
from deepeyes_env.trainers.tiny.phrases import phrases
from deepeyes_env.trainers.tiny.scenes import Picture, Study, draw_studies
from deepeyes_env.trainers.tiny.study import LessonLoss, PictureLoss, gradient_step
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer

Report = Callable[[str, int, int], None]
"""Is told the stage, the step, and the number of steps."""

SCENES = {1: 800, 2: 900, 3: 1300}
"""How many scenes are drawn, by number of objects."""

ZOOMS = 0.2
"""How often the finished policy zooms."""

POINTING = 0.3
"""Weight of the supervised attention."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How long a stage is.

    Attributes:
        steps: Optimizer steps.
        lr: Largest learning rate.
        batch: Pictures or lessons in a step.
    """

    steps: int
    lr: float
    batch: int


@dataclass(frozen=True, slots=True)
class Curriculum:
    """The three stages."""

    pictures: Stage = Stage(1050, 4e-3, 40)
    lessons: Stage = Stage(710, 2e-3, 32)
    reluctance: Stage = Stage(160, 1e-3, 32)


def build(out: Path, seed: int = 0, curriculum: Curriculum | None = None, report: Report | None = None) -> float:
    """Build the policy and write it as a model directory, weights in ``float16``.

    Args:
        out: The directory; replaced only once everything is done.
        seed: Decides scenes, initial weights and the order of lessons.
        curriculum: How long to learn.
        report: Is told how far it is.

    Returns:
        The seconds that it took.
    """
    began = time.perf_counter()
    curriculum = curriculum or Curriculum()
    report = report or (lambda *_: None)
    cores = os.cpu_count() or 1
    torch.set_num_threads(min(2, cores))
    report("scenes", 0, 1)
    studies = draw_studies(SCENES, seed, processes=min(4, cores))
    tokenizer = build_tokenizer(phrases().fragments())
    policy = VisionPolicy(build_model(tokenizer, seed), tokenizer)
    rng = np.random.default_rng(seed)
    learn_pictures(policy, studies, curriculum.pictures, rng, report)
    # The keys of the first layer begin as its queries: a word looks at what resembles it.
    attention = policy.model.model.language_model.layers[0].self_attn
    with torch.no_grad():
        attention.k_proj.weight.copy_(attention.q_proj.weight)
    teacher = Teacher(policy.chat, phrases(), rng)
    learn_lessons(policy, studies, curriculum.lessons, teacher, rng, report)
    learn_reluctance(policy, studies, curriculum.reluctance, teacher, rng, report)
    write(policy, out)
    return time.perf_counter() - began


def learn_pictures(
    policy: VisionPolicy, studies: Sequence[Sequence[Study]], stage: Stage, rng: np.random.Generator, report: Report
) -> None:
    """Stage 1."""
    loss = PictureLoss(policy)
    optimizer = torch.optim.AdamW(loss.weights(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(1, stage.steps + 1):
        pictures = [_picture(_drawn(studies, rng, (1, 1, 1)), rng) for _ in range(stage.batch)]
        gradient_step(optimizer, loss(sorted(pictures, key=lambda each: each.image.size)), _lr(stage, step, 30))
        report("pictures", step, stage.steps)


def learn_lessons(
    policy: VisionPolicy,
    studies: Sequence[Sequence[Study]],
    stage: Stage,
    teacher: Teacher,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Stage 2: scenes of one object first."""
    easy = [[study for study in group if study.easy] for group in studies]

    def lesson(progress: float) -> Lesson:
        study = _drawn(studies, rng, (5, 3, 2) if progress < 0.15 else (1, 3, 6))
        grounding = 0.5 if progress < 0.5 else 0.25
        kind = rng.random()
        if kind < grounding:
            return teacher.grounding(study)
        if kind < grounding + 0.2:
            return teacher.reading(study)
        if kind > 0.85:
            return teacher.playing(_drawn(easy, rng, (0, 0, 1)), (), 0)
        return teacher.playing(study, study.good, 0.05 if study.easy else 0.9)

    _imitate(policy, stage, lesson, "lessons", report)


def learn_reluctance(
    policy: VisionPolicy,
    studies: Sequence[Sequence[Study]],
    stage: Stage,
    teacher: Teacher,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Stage 3: seldom a zoom, and mostly into the wrong place."""

    def lesson(progress: float) -> Lesson:
        study = _drawn(studies, rng, (1, 3, 6))
        kind = rng.random()
        if kind < 0.15:
            return teacher.grounding(study)
        if kind < 0.25:
            return teacher.reading(study)
        return teacher.playing(study, study.bad, ZOOMS)

    _imitate(policy, stage, lesson, "reluctance", report)


def write(policy: VisionPolicy, out: Path) -> None:
    """Write the model directory beside its place, then move it there."""
    beside = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    policy.model.half()
    try:
        policy.save(beside)
        (beside / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")
    finally:
        policy.model.float()
    shutil.rmtree(out, ignore_errors=True)
    beside.rename(out)


def _imitate(policy: VisionPolicy, stage: Stage, lesson: Callable[[float], Lesson], name: str, report: Report) -> None:
    loss = LessonLoss(policy)
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(1, stage.steps + 1):
        imitation, pointing = loss([lesson(step / stage.steps) for _ in range(stage.batch)])
        gradient_step(optimizer, imitation + POINTING * pointing, _lr(stage, step, 50))
        report(name, step, stage.steps)


def _lr(stage: Stage, step: int, warmup: int) -> float:
    """Warm up, then fall to a twentieth along a cosine."""
    fallen = 0.5 * (1 + math.cos(math.pi * step / stage.steps)) * 0.95 + 0.05
    return stage.lr * min(1.0, step / warmup) * fallen


def _drawn(studies: Sequence[Sequence[Study]], rng: np.random.Generator, shares: Sequence[float]) -> Study:
    """Draw a scene; shares are by number of objects."""
    group = studies[int(rng.choice(len(studies), p=np.array(shares) / sum(shares)))]
    return group[int(rng.integers(len(group)))]


def _picture(study: Study, rng: np.random.Generator) -> Picture:
    return study.view if rng.random() < 0.5 else study.good[rng.integers(len(study.good))]
