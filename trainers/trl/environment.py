"""ToolboxEnvironment: one rollout as TRL's ``environment_factory`` wants it; its public methods are the tools."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deepeyes_env.conversation import content_parts
from deepeyes_env.core import Message, ToolCall, Trajectory
from deepeyes_env.data import load
from deepeyes_env.envs.toolbox import Toolbox, get_toolbox
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import UsageError
from deepeyes_env.images.pil import to_pil
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.trl.methods import method_of

BROKEN = "This question cannot be shown. Answer anything."
"""What is shown of a question that cannot be begun; its rollout has no reward."""

OVER = "The episode has ended. Give the final answer."
"""What a tool answers after the last turn."""

_BLANK = (56, 56)

Blocks = list[dict[str, Any]]

logger = logging.getLogger(__name__)


class ToolboxEnvironment:
    """One rollout at a time. ``environment_factory`` makes a class of it that has a toolbox's tools as methods.

    TRL resets it with a row, appends what ``reset`` returns to the user's message, and calls its public methods as the
    policy's tools. What goes wrong here ends no run: the rollout gets no reward, and is counted.

    Args:
        env: Where it is played, without a rubric: of a rollout's last message TRL tells its environments nothing, so
            ``EpisodeReward`` scores it.
    """

    def __init__(self, env: VisualToolboxEnv) -> None:
        self._env = env
        self._error = ""

    def reset(
        self, index: int | None = None, seed: int = 0, prompt: Sequence[Mapping[str, Any]] = (), **_: Any
    ) -> Blocks:
        """Begin the episode of a row of ``make_rows``; returns question and images as content blocks.

        Raises:
            UsageError: The row was not made by ``make_rows``, or for another environment.
        """
        if index is None:
            raise UsageError("a row has no index; make train_dataset with deepeyes_env.trainers.trl.make_rows")
        self._error = ""
        try:
            _, info = self._env.reset(seed=seed, options={"index": index})
        except Exception as error:  # a broken image, a tool that does not open: this rollout's affair alone
            self._failed(f"question {index}", error)
            return [image_block(np.zeros((*_BLANK, 3), np.uint8)), text_block(BROKEN)]
        begun: Trajectory = info["trajectory"]
        if prompt and begun.system_prompt != _system_prompt(prompt):
            raise UsageError(
                f"question {index}: its row has another system prompt than its environment; give make_rows and "
                "environment_factory the same data, toolbox, prompt and prompt_template"
            )
        return blocks_of(begun.prompt)

    def _call(self, name: str, arguments: dict[str, Any]) -> Blocks | str:
        """Run a tool; returns what the environment answers."""
        if self._error:
            return BROKEN
        if self._env.trajectory.done:
            return OVER
        try:
            *_, info = self._env.step(ToolCall(name, arguments))
            observation = info["turn"].observation
            return OVER if observation is None else blocks_of(observation)
        except Exception as error:
            self._failed(f"tool {name}", error)
            return BROKEN

    def _finished(self, message: str) -> Trajectory | None:
        """Take the last message, which ran no tool; returns the episode, ``None`` if the environment failed."""
        if not self._error and not self._env.trajectory.done:
            try:
                self._env.step(message)
                if not self._env.trajectory.done:  # it ended in a call that TRL did not run, or could not read
                    self._env.truncate("max_turns")
            except Exception as error:
                self._failed("the last message", error)
        return None if self._error else self._env.trajectory

    def _failed(self, where: str, error: Exception) -> None:
        self._error = f"{where}: {type(error).__name__}: {error}"
        logger.warning("the environment failed at %s", self._error)


def environment_factory(
    dataset: Any = "visual_search", toolbox: str | Toolbox = "VisualToolbox-v2", **kwargs: Any
) -> Callable[[], ToolboxEnvironment]:
    """Return what ``GRPOTrainer(environment_factory=...)`` takes.

    Args:
        dataset: Whatever ``deepeyes_env.data.load`` makes a data set of: the one that ``make_rows`` was given. All
            environments share it, and decode each of its images once.
        toolbox: The environment; its tools become the policy's.
        **kwargs: Further keyword arguments of ``VisualToolboxEnv``, such as ``max_turns`` and ``view``.

    Raises:
        UsageError: A rubric or a judge is given: ``EpisodeReward`` takes them; or an argument is wrong.
        UnknownNameError: The toolbox is not registered.
    """
    if refused := sorted({"rubric", "judge"} & set(kwargs)):
        raise UsageError(f"{refused[0]}: EpisodeReward scores the rollouts; give it to EpisodeReward")
    chosen = get_toolbox(toolbox)
    source = load(dataset)
    methods = {schema["function"]["name"]: method_of(schema, ToolboxEnvironment._call) for schema in chosen.schemas}
    if taken := sorted({"reset", "get_reward"} & set(methods)):
        raise UsageError(f"tool {taken[0]!r}: TRL calls a method of that name itself; give the tool another name")
    made: type[ToolboxEnvironment] = type("ToolboxEnvironment", (ToolboxEnvironment,), methods)

    def make() -> ToolboxEnvironment:
        return made(VisualToolboxEnv(chosen, source, rubric=None, **kwargs))

    return make


def blocks_of(message: Message) -> Blocks:
    """Return a message as content blocks, its images as PIL images."""
    return [
        image_block(part.pixels()) if isinstance(part, ImageRef) else text_block(part)
        for part in content_parts(message)
    ]


def image_block(pixels: np.ndarray) -> dict[str, Any]:
    """Return an image as a content block."""
    return {"type": "image", "image": to_pil(pixels)}


def text_block(text: str) -> dict[str, Any]:
    """Return a text as a content block."""
    return {"type": "text", "text": text}


def _system_prompt(prompt: Sequence[Mapping[str, Any]]) -> str:
    """Return the system prompt that a row's messages open with; empty if there is none."""
    return str(prompt[0]["content"]) if prompt[0]["role"] == "system" else ""
