"""LoopSettings: how an episode is played inside verl, and what of it bounds the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from deepeyes_env.agents.families import FAMILIES, ModelFamily
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.envs.row_prompt import PromptSource, check_prompt_source
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Frame, check_frame_name
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.registry import unknown_name


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How episodes are played; each is a key of the agent loop's entry in verl's ``agent_loop_config_path``.

    Attributes:
        toolbox: Id of the environment; a row may name another one.
        rubric: Reward formula; ``auto`` is the environment's own.
        judge: Says whether an answer is right: one of ``deepeyes_env.judges.JUDGES``.
        judge_model: Model of a judge that asks one.
        judge_url: Base URL of the server of such a judge.
        prompt: Whose words open an episode: ``row``, ``protocol`` or ``auto``.
        prompt_template: A YAML file with other words than the protocol's.
        max_turns: Maximum turns of an episode: messages that the policy may write.
        max_images: Maximum number of images in an episode, the question's included.
        max_new_tokens: Maximum new tokens of one message; by default as many as there is room for.
        min_pixels: Minimum number of pixels at which an image of a data file is shown; smaller ones are scaled up.
        max_pixels: Maximum number of pixels at which an image of a data file is shown.
        frame: Coordinate frame in which the policy writes boxes; by default its family's.
        seed: Decides the order of options, with the number of the row.
        image_memory: Megabytes of decoded images that each worker process keeps.
        threads: How many environments of a worker process may work at a time; a judge that is waited for takes one.
        record: Folder to which each worker process writes the episodes it has played; empty: none are written.

    Raises:
        UsageError: A value is out of range.
        UnknownNameError: The frame is none.
    """

    toolbox: str = "VisualToolbox-v2"
    rubric: str = "auto"
    judge: str = "rules"
    judge_model: str = ""
    judge_url: str = ""
    prompt: PromptSource = "auto"
    prompt_template: str = ""
    max_turns: int = DEFAULT_MAX_TURNS
    max_images: int = 32
    max_new_tokens: int | None = None
    min_pixels: int = ViewBudget().min_pixels
    max_pixels: int = ViewBudget().max_pixels
    frame: Frame | None = None
    seed: int = 0
    image_memory: int = 2048
    threads: int = 32
    record: str = ""

    def __post_init__(self) -> None:
        if self.frame is not None:
            check_frame_name(self.frame)
        check_prompt_source(self.prompt)
        for name in ("max_turns", "max_images", "min_pixels", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens={self.max_new_tokens}: must be at least 1; leave it out for no limit")
        if self.min_pixels > self.max_pixels:
            raise UsageError(f"min_pixels={self.min_pixels} is more than max_pixels={self.max_pixels}; swap them")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LoopSettings:
        """Make settings of the keys of an agent loop's entry.

        Raises:
            UnknownNameError: There is no such setting; the message has the nearest one.
            UsageError: A value is wrong.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown_name("setting of the agent loop", name, known)
        return cls(**given)


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """How many tokens a rollout may have.

    Attributes:
        prompt: The most tokens of the prompt.
        response: The most tokens of all that follows it, observations included.
        context: The most tokens of both together.
        message: The most tokens of one message.
    """

    prompt: int
    response: int
    context: int
    message: int

    def room(self, prompt: int, response: int) -> int:
        """Return how many more tokens there is room for, behind a prompt and a response of so many."""
        return min(self.response - response, self.context - prompt - response)


def family_of_processor(model_type: str | None, image_processor: Any, frame: Frame | None = None) -> ModelFamily:
    """Return the family of a model by what verl has loaded of it, its image sizes as its processor has them.

    Args:
        model_type: What ``config.json`` calls the model.
        image_processor: The image processor.
        frame: Coordinate frame in which the model writes boxes, where that is not its family's.

    Raises:
        UsageError: The family is unknown and no frame is given, or its processor cuts tiles.
    """
    family = FAMILIES.find(str(model_type))
    if family is None:
        raise UsageError(
            f"models of type {model_type!r} are not known; register_family makes one, known are: {', '.join(FAMILIES)}"
        )
    if family.view is None:
        raise UsageError(f"models of type {model_type!r} cut images into tiles, which the agent loop cannot count")
    size = dict(getattr(image_processor, "size", None) or {})
    least = getattr(image_processor, "min_pixels", None) or size.get("shortest_edge") or family.view.min_pixels
    most = getattr(image_processor, "max_pixels", None) or size.get("longest_edge") or family.view.max_pixels
    factor = image_processor.patch_size * image_processor.merge_size
    bounded = replace(family, view=ViewBudget(int(least), int(most), int(factor)))
    return bounded if frame is None else replace(bounded, frame=frame)
