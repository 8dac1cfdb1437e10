"""What a run with TRL would be, checked before anything is loaded: ``deepeyes train-trl --dry-run``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.data import Dataset, load
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.rewards import get_rubric
from deepeyes_env.trainers.grpo.settings_file import settings_text
from deepeyes_env.trainers.trl.config import TRLConfig, grpo_arguments

KINDS = ("qwen2_5_vl",)
"""What ``config.json`` of a model may name as ``model_type``: what was trained with TRL in a test."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can begin.

    Attributes:
        config: Its settings.
        dataset: The questions.
        view: View budget of its images.
        image_tokens: Most tokens of an image.
        context: Length of the model's context in tokens.
    """

    config: TRLConfig
    dataset: Dataset
    view: ViewBudget
    image_tokens: int
    context: int

    def text(self) -> str:
        """Return the whole configuration as YAML, with what was found beside it."""
        grpo = grpo_arguments(self.config, self.image_tokens)
        settings = {**self.config.model_dump(mode="json"), "grpo": grpo}
        longest = self.image_tokens + grpo["max_completion_length"]
        found = [
            f"# {len(self.dataset)} questions, images of {self.view.min_pixels} to {self.view.max_pixels} pixels, "
            f"at most {self.image_tokens} tokens each",
            f"# an episode: at most {longest} tokens beside the texts of its prompt, in a context of {self.context}",
        ]
        return settings_text(settings) + "\n".join(found)


def check(config: TRLConfig) -> Plan:
    """Check the paths, names and sizes of a run; loads no weights.

    Raises:
        UsageError: There is no such model, data or size.
        UnknownNameError: No toolbox or rubric has that name.
        DataError: The data or the model's settings cannot be read.
    """
    check_directory(config.folder, KINDS)
    get_toolbox(config.toolbox)
    if config.rubric != "auto":
        get_rubric(config.rubric)
    dataset = load(config.data)
    if len(dataset) == 0:
        raise UsageError(f"data={config.data}: holds no questions")
    first = dataset[0]
    _ = [image.size for image in first.images]
    recommended = getattr(dataset, "view", None)
    view = recommended or family_of(config.folder).view_within(ViewBudget(config.min_pixels, config.max_pixels))
    context = _context(config)
    tokens = view.max_pixels // view.factor**2
    plan = Plan(config, dataset, view, tokens, context)
    longest = tokens + int(grpo_arguments(config, tokens)["max_completion_length"])
    if longest >= context:
        raise UsageError(
            f"an episode may have {longest} tokens, and the model's context {context}: lower "
            f"max_pixels={config.max_pixels}, max_turns={config.max_turns} or max_new_tokens={config.max_new_tokens}"
        )
    return plan


def _context(config: TRLConfig) -> int:
    settings: dict[str, Any] = json.loads((config.folder / "config.json").read_text(encoding="utf-8"))
    text = settings.get("text_config", settings)
    return int(text.get("max_position_embeddings", settings.get("max_position_embeddings", 0)) or 2**31)
