"""The names of those metrics of a run that tables and plots show; ``docs/training.md`` says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from deepeyes_env import labels
from deepeyes_env.core import StopReason

REWARD_TERM = "reward/"
"""Goes before the name of a term."""
REWARD = f"{REWARD_TERM}total"
ACCURACY = "accuracy"
TOOL_RATE = "tool/rate"
TOOL_CALLS = "tool/calls"
ZOOM_RATE = "zoom/rate"
ZOOM_IOU = "zoom/iou"
RESPONSE_TOKENS = "response/tokens"

STOP_REASONS: tuple[str, ...] = tuple(reason for reason in get_args(StopReason) if reason)
"""Stand behind ``stop/``: all reasons why an episode may have ended."""

CHANCE = "chance"
"""What guessing scores."""

HARD, EASY = "/hard", "/easy"
"""Stand behind a name: over those questions that want a zoom, or none."""
BY_DIFFICULTY = (f"{ACCURACY}{HARD}", f"{ACCURACY}{EASY}", f"{TOOL_RATE}{HARD}", f"{TOOL_RATE}{EASY}")

TASK = "task/"
"""Goes before the name of a task: over its questions; see ``trainers.grpo.tool_use``."""

USES = ("code", "zoom", "search")
"""What the calls of an episode can be: programs that compute, programs that only crop, text searches."""

HELD_OUT = "eval/"
"""Stands before a name: over the held-out questions."""

FINISHED, FAILED = f"{HELD_OUT}episodes/finished", f"{HELD_OUT}episodes/failed"
"""How many held-out questions an evaluation is over, and how many could not be played."""

LABELS: Mapping[str, str] = {
    REWARD: labels.REWARD,
    ACCURACY: labels.ACCURACY,
    TOOL_RATE: labels.TOOL_USE_RATE,
    TOOL_CALLS: labels.TOOL_CALLS,
    ZOOM_IOU: labels.BEST_IOU,
    RESPONSE_TOKENS: labels.RESPONSE_TOKENS,
}
"""What readers are shown for a name without a suffix."""

COMPARED = (*BY_DIFFICULTY, ZOOM_IOU, TOOL_CALLS)
"""What the arms of an ablation are compared in."""


def kind_of(name: str) -> tuple[str, str]:
    """Return a name without its suffix, and ``hard``, ``easy`` or nothing."""
    suffix = next((each for each in (HARD, EASY) if name.endswith(each)), "")
    return name.removesuffix(suffix), suffix.removeprefix("/")


def label_of(name: str) -> str:
    """Return what readers are shown for a name, ``accuracy (hard)`` for ``accuracy/hard``."""
    metric, kind = kind_of(name)
    return f"{LABELS[metric]} ({kind})" if kind else LABELS[metric]
