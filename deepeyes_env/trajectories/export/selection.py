"""Selection: which episodes of a run are worth learning from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deepeyes_env.call_effects import call_effects_of
from deepeyes_env.core import Trajectory
from deepeyes_env.errors import UsageError

NOT_SCORED = "not scored"
"""Why an episode is left out that nobody has judged, though its verdict is asked about, or its reward."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that an episode has to meet, all of them.

    Attributes:
        right: The answer was judged right.
        min_reward: The reward is at least this; ``None`` for any.
        clean: Every tool call ran, and the episode ended with an answer.
        used_tools: At least one call returned an image.
        tools: ``on``: played with a toolbox; ``off``: an ordinary question; ``None`` for both.
        only_useful_calls: What every call was worth was played, and all of them mattered (``deepeyes credit``).

    Raises:
        UsageError: ``tools`` is none of these.
    """

    right: bool = False
    min_reward: float | None = None
    clean: bool = False
    used_tools: bool = False
    tools: Literal["on", "off"] | None = None
    only_useful_calls: bool = False

    def __post_init__(self) -> None:
        if self.tools not in (None, "on", "off"):
            raise UsageError(f"tools={self.tools!r}: must be 'on' or 'off'")
        if self.min_reward is not None and math.isnan(self.min_reward):
            raise UsageError(f"min_reward={self.min_reward}: must be a number")

    def reason_to_skip(self, trajectory: Trajectory) -> str:
        """Return why an episode is left out, in a few words; empty if it is kept."""
        if self.tools and (self.tools == "on") != bool(trajectory.toolbox):
            return f"played with tools {'on' if trajectory.toolbox else 'off'}"
        if (self.right and trajectory.correct is None) or (self.min_reward is not None and not trajectory.reward_terms):
            return NOT_SCORED
        if self.right and not trajectory.right:
            return "wrong answer"
        if self.min_reward is not None and trajectory.reward < self.min_reward:
            return f"reward below {self.min_reward:g}"
        if self.clean and not all(result.ok for result in trajectory.results):
            return "failed call"
        if self.clean and trajectory.stop_reason != "answer":
            return "no answer"
        if self.used_tools and not trajectory.used_tool:
            return "no image from a tool"
        return _useless(trajectory) if self.only_useful_calls else ""


def _useless(trajectory: Trajectory) -> str:
    """Return why an episode has a call that is of no use; empty if it has none."""
    effects = call_effects_of(trajectory) or ()
    if len(effects) < len(trajectory.results):
        return "a call that was not played on from"
    verdicts = [each.verdict for each in effects]
    if "harmful" in verdicts:
        return "a harmful call"
    return "a decorative call" if "decorative" in verdicts else ""
