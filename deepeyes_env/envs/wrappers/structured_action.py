"""StructuredAction: zoom, rotate and answer as numbers instead of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import gymnasium as gym
import numpy as np

from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.envs.looking import image_argument
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.images.box_sides import MIN_BOX_SIDE
from deepeyes_env.images.frames import PixelBox, Size, from_native
from deepeyes_env.option_letters import letter_options
from deepeyes_env.tools.context import MAX_BOX_RATIO

ROTATIONS = (90, 180, 270)
"""Degrees clockwise among which the rotate action chooses."""

WIDEST = MAX_BOX_RATIO - 1
"""How many times as long as the other a side of a zoomed box may be; less than the tools allow, against rounding."""

NO_SUCH_OPTION = "?"
"""What is answered for an option that the question does not have: wrong, whatever the right answer is."""


class StructuredAction(gym.ActionWrapper[dict[str, Any], Any, Any], gym.utils.RecordConstructorArgs):
    """Let a policy act in numbers: ``OneOf((zoom, rotate, answer))``.

    - zoom: ``Box(0, 1, (4,))``, ``(centre x, centre y, width, height)`` as fractions of the first image. Every such box
      is one that the tool accepts: rounded to whole native pixels, enlarged where a side is shorter than
      ``MIN_BOX_SIDE`` or than the tools allow beside the other, and moved inside the image.
    - rotate: ``Discrete(3)``, by 90, 180 or 270 degrees clockwise.
    - answer: ``Discrete(max_options)``, the option in the order shown. One that the question does not have is a wrong
      answer; a question without options is answered with the letter.

    ``kinds`` names the choices in order. Zoom is there if a tool of the environment takes a box, rotate if one takes an
    ``angle``. A row of the data set that brings its own toolbox is played with that toolbox's names.

    Attributes:
        max_options: How many options there are to choose among.

    Args:
        env: A ``VisualToolboxEnv``, possibly wrapped.
        max_options: How many options there are to choose among.

    Raises:
        UsageTypeError: The environment inside is no ``VisualToolboxEnv``.
        UsageError: ``max_options`` is less than 1.
    """

    def __init__(self, env: gym.Env[dict[str, Any], Any], max_options: int = 4) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, max_options=max_options)
        gym.ActionWrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, VisualToolboxEnv):
            raise UsageTypeError(f"StructuredAction wraps a VisualToolboxEnv, not {type(inner).__name__}")
        if max_options < 1:
            raise UsageError(f"StructuredAction(max_options={max_options}): must be at least 1")
        self._env, self.max_options = inner, max_options
        self._own = ToolNames.of(inner.toolbox)
        self._names = {inner.toolbox.name: self._own}
        spaces: dict[str, gym.Space[Any]] = {
            "zoom": gym.spaces.Box(0.0, 1.0, (4,), np.float32),
            "rotate": gym.spaces.Discrete(len(ROTATIONS)),
            "answer": gym.spaces.Discrete(max_options),
        }
        spaces = {kind: space for kind, space in spaces.items() if kind == "answer" or kind in self._own.targets}
        self.kinds = tuple(spaces)
        self._spaces = tuple(spaces.values())
        self.action_space = gym.spaces.OneOf(self._spaces)

    def action(self, action: tuple[int, Any]) -> ToolCall | str:
        """Turn ``(index of the kind, value)`` into a call or an answer.

        Raises:
            UsageError: The index names no kind, a discrete value is out of range, or a zoom is not four finite numbers
                (they are clipped to 0 and 1).
        """
        index, value = int(action[0]), action[1]
        if not 0 <= index < len(self.kinds):
            raise UsageError(f"action {action!r}: the kinds are numbered 0 to {len(self.kinds) - 1}: {self.kinds}")
        kind, trajectory, space = self.kinds[index], self._env.trajectory, self._spaces[index]
        if isinstance(space, gym.spaces.Discrete) and not 0 <= int(value) < space.n:
            raise UsageError(f"action {action!r}: the value of {kind} must be 0 to {space.n - 1}")
        names = self._names_in(trajectory.toolbox)
        if kind == "answer":
            return names.format_answer(answer_letter(trajectory.sample.options, int(value)))
        tool, parameter = names.targets.get(kind) or self._own.targets[kind]
        written = _box(value, trajectory) if kind == "zoom" else ROTATIONS[int(value)]
        return ToolCall(tool, {parameter: written, **image_argument(trajectory, 0)})

    def allowed(self, kind: str) -> int:
        """Return how many values of a kind make sense in the running episode; of a zoom, 1 stands for all.

        That is none where the episode's toolbox has no such tool; the options of the question for an answer.

        Args:
            kind: One of ``kinds``.

        Raises:
            gymnasium.error.ResetNeeded: No episode was begun.
        """
        trajectory, space = self._env.trajectory, self._spaces[self.kinds.index(kind)]
        if kind == "answer":
            return min(len(trajectory.sample.options) or self.max_options, self.max_options)
        if kind not in self._names_in(trajectory.toolbox).targets:
            return 0
        return int(space.n) if isinstance(space, gym.spaces.Discrete) else 1

    def _names_in(self, toolbox: str) -> ToolNames:
        if toolbox not in self._names:
            self._names[toolbox] = ToolNames.of(get_toolbox(toolbox) if toolbox else PLAIN)
        return self._names[toolbox]


@dataclass(frozen=True, slots=True)
class ToolNames:
    """What one toolbox calls its tools and their parameters, and how it writes answers.

    Attributes:
        targets: For ``"zoom"`` and ``"rotate"`` the name of the tool and of its parameter, where there is one.
        format_answer: Writes an answer.
    """

    targets: Mapping[str, tuple[str, str]]
    format_answer: Callable[[str], str]

    @classmethod
    def of(cls, toolbox: Toolbox) -> ToolNames:
        """Look a toolbox's tools over."""
        zoom = toolbox.box_parameter
        functions = [schema["function"] for schema in toolbox.schemas]
        turning = [each["name"] for each in functions if "angle" in each["parameters"].get("properties", {})]
        targets: dict[str, tuple[str, str]] = {"zoom": zoom} if zoom else {}
        targets |= {"rotate": (turning[0], "angle")} if turning else {}
        return cls(targets, toolbox.protocol.format_answer)


def answer_letter(options: tuple[str, ...], index: int) -> str:
    """Return the letter of an option, or ``NO_SUCH_OPTION``; any letter is one where no options are known."""
    lettered = letter_options(options or ("",) * (index + 1))
    return lettered[index][0] if index < len(lettered) else NO_SUCH_OPTION


def _box(values: Any, trajectory: Trajectory) -> list[float]:
    shares = np.asarray(values, np.float64)
    if shares.shape != (4,) or not np.isfinite(shares).all():
        raise UsageError(f"zoom {values!r}: must be four finite numbers (centre x, centre y, width, height)")
    native = valid_box(np.clip(shares, 0.0, 1.0).tolist(), trajectory.native_size)
    box = from_native(native, trajectory.frame, trajectory.native_size, trajectory.view_size)
    return [round(x, 6) for x in box]


def valid_box(values: Sequence[float], size: Size) -> PixelBox:
    """Return the native box that ``(centre x, centre y, width, height)`` in unit coordinates stands for.

    It lies inside the image; its sides are at least ``MIN_BOX_SIDE`` pixels where the image has as many, and differ
    by a factor of less than 100.

    Args:
        values: Four numbers in ``[0, 1]``.
        size: ``(width, height)`` of the image in pixels.
    """
    width, height = (min(size[i], max(MIN_BOX_SIDE, round(values[2 + i] * size[i]))) for i in range(2))
    width = max(width, min(size[0], ceil(height / WIDEST)))
    height = max(height, min(size[1], ceil(width / WIDEST)))
    width, height = min(width, WIDEST * height), min(height, WIDEST * width)
    left = min(max(0, round(values[0] * size[0] - width / 2)), size[0] - width)
    top = min(max(0, round(values[1] * size[1] - height / 2)), size[1] - height)
    return (left, top, left + width, top + height)
