"""The terms that the presets are made of: small functions of the evidence."""

from __future__ import annotations

import math

from deepeyes_env.core import is_right
from deepeyes_env.protocols.tags import TOOL_CALL
from deepeyes_env.rewards.evidence import Evidence


def accuracy(evidence: Evidence) -> float:
    """How right the answer is, from 0 to 1."""
    return evidence.correct


def format_broken(evidence: Evidence) -> float:
    """-1 for a format error, else 0 (DeepEyes)."""
    return -1.0 if evidence.format_error else 0.0


def format_kept(evidence: Evidence) -> float:
    """1 for a response in the right format, else 0 (DeepEyesV2)."""
    return 0.0 if evidence.format_error else 1.0


def tool(evidence: Evidence) -> float:
    """1 if a tool call returned an image, else 0."""
    return float(evidence.used_tool)


def tool_if_right(evidence: Evidence) -> float:
    """1 if a tool call returned an image and the answer is more right than wrong, else 0 (DeepEyes' code)."""
    return float(evidence.used_tool and is_right(evidence.correct))


def tool_if_any_right(evidence: Evidence) -> float:
    """1 if a tool call returned an image and the accuracy is above 0, else 0 (DeepEyes' paper)."""
    return float(evidence.used_tool and evidence.correct > 0)


def causal_tool(evidence: Evidence) -> float:
    """How much the calls together changed the chance of a right answer, from -1 to 1: a decorative call earns nothing.

    The effects of an episode's calls are read, never played here; see ``Evidence.call_effects``.
    """
    return max(-1.0, min(1.0, math.fsum(each.effect for each in evidence.call_effects)))


def calls(evidence: Evidence) -> float:
    """How many tool calls there were, those that failed included."""
    return float(len(evidence.trajectory.results))


def accuracy_after_call(evidence: Evidence) -> float:
    """The accuracy, less a tenth of it if a tool call was written, even if it never ran (DeepEyesV2, search data)."""
    return evidence.correct * (0.9 if TOOL_CALL.opening in evidence.trajectory.response else 1.0)
