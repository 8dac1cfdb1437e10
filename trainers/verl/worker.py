"""worker: what the agent loops of one process share."""

from __future__ import annotations

import atexit
import os
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepeyes_env.agents.families import ModelFamily
from deepeyes_env.agents.transformers.chat import Chat
from deepeyes_env.core import Trajectory
from deepeyes_env.data import Dataset
from deepeyes_env.envs.toolbox import registered_kwargs
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.images.store import ImageStore
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.judges import Judge, make_judge
from deepeyes_env.trainers.verl.report import term_names
from deepeyes_env.trainers.verl.settings import LoopSettings, family_of_processor
from deepeyes_env.trajectories import TrajectoryWriter

_VISION = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_VISION_TEXTS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


@dataclass(slots=True)
class Worker:
    """The parts of an agent loop that cost something to make.

    Attributes:
        settings: How episodes are played.
        chat: Writes them as tokens.
        vision: Tokens that stand for images, or mark them.
        terms: Names of all terms that a reward may have.
        threads: Where environments work.
        env_kwargs: Arguments of every environment, without its data set.
        writer: Where episodes are written to, if anywhere.
    """

    settings: LoopSettings
    chat: Chat
    vision: frozenset[int]
    terms: tuple[str, ...]
    threads: ThreadPoolExecutor
    env_kwargs: dict[str, Any]
    writer: TrajectoryWriter | None

    @classmethod
    def of(cls, settings: LoopSettings, tokenizer: Any, processor: Any, model_type: str | None) -> Worker:
        """Make one for a model, by what verl has loaded of it.

        Raises:
            UsageError: The model is of a kind that is not known, or has no chat template.
        """
        images = processor.image_processor
        family = family_of_processor(model_type, images, settings.frame)
        assert family.view is not None
        tokenizer.chat_template = tokenizer.chat_template or getattr(processor, "chat_template", None)
        chat = Chat(tokenizer, _image_token(tokenizer, processor), family.view.factor)
        return cls(
            settings=settings,
            chat=chat,
            vision=_vision_tokens(tokenizer, processor),
            terms=term_names(settings.rubric, settings.toolbox),
            threads=ThreadPoolExecutor(settings.threads, thread_name_prefix="deepeyes"),
            env_kwargs=env_kwargs(settings, family),
            writer=_writer(settings.record),
        )

    def make_env(self, dataset: Dataset) -> VisualToolboxEnv:
        """Make the environment of one rollout."""
        return make_env(self.env_kwargs, dataset)

    def write(self, trajectory: Trajectory) -> None:
        """Write an episode, if they are written."""
        if self.writer is not None:
            self.writer.write(trajectory)


def env_kwargs(settings: LoopSettings, family: ModelFamily) -> dict[str, Any]:
    """Return the arguments of every environment, without its data set.

    Raises:
        UnknownNameError: There is no such toolbox or judge.
        UsageError: The judge lacks a setting.
    """
    assert family.view is not None
    asked = ViewBudget(settings.min_pixels, settings.max_pixels, family.view.factor)
    return {
        **registered_kwargs(settings.toolbox),
        "rubric": settings.rubric,
        "judge": judge_of(settings),
        "prompt": settings.prompt,
        "prompt_template": settings.prompt_template or None,
        "frame": family.frame,
        "max_turns": settings.max_turns,
        "max_images": settings.max_images,
        "view": family.view_within(asked),
        "store": ImageStore(settings.image_memory * 2**20),
    }


def make_env(kwargs: Mapping[str, Any], dataset: Dataset) -> VisualToolboxEnv:
    """Make the environment of one rollout; a data set that recommends a view is shown in that."""
    view = getattr(dataset, "view", None) or kwargs["view"]
    return VisualToolboxEnv(**{**kwargs, "dataset": dataset, "view": view})


@lru_cache(maxsize=4)
def shared_worker(settings: LoopSettings, tokenizer: Any, processor: Any, model_type: str | None) -> Worker:
    """Return the worker of this process for a model, made once: verl makes an agent loop for each rollout.

    Raises:
        UsageError: The model is of a kind that is not known, or has no chat template.
    """
    return Worker.of(settings, tokenizer, processor, model_type)


def judge_of(settings: LoopSettings) -> Judge:
    """Return the judge of all episodes.

    Raises:
        UnknownNameError: There is no such judge.
        UsageError: It lacks a setting, or takes none of those that are given.
    """
    asked = {"model": settings.judge_model, "base_url": settings.judge_url}
    return make_judge(settings.judge, **{name: value for name, value in asked.items() if value})


def _writer(folder: str) -> TrajectoryWriter | None:
    if not folder:
        return None
    writer = TrajectoryWriter(Path(folder) / f"worker-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    atexit.register(writer.close)
    return writer


def _image_token(tokenizer: Any, processor: Any) -> int:
    known = getattr(processor, "image_token_id", None)
    return int(tokenizer.convert_tokens_to_ids("<|image_pad|>") if known is None else known)


def _vision_tokens(tokenizer: Any, processor: Any) -> frozenset[int]:
    """Return the tokens that a policy must not write: what they stand for is not there."""
    named = (getattr(processor, name, None) for name in _VISION)
    vocabulary = tokenizer.get_vocab()
    written = (vocabulary.get(text) for text in _VISION_TEXTS)
    return frozenset(int(token) for token in (*named, *written) if token is not None)
