"""Metrics of a batch of finished episodes: flat, with slashes in their names."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence

import torch

from deepeyes_env.core import Trajectory
from deepeyes_env.trainers.grpo.tool_use import tool_use
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trajectories import Summary, summarise
from deepeyes_env.trajectories.summary import chance, unknown_tools_of


def rollout_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return what there is to say about some episodes; what nothing is known of is left out.

    ====================  =========================================================================================
    ``reward/total``      mean reward; ``reward/NAME``: share of each term, weight times raw
    ``accuracy``          mean of the judge's verdicts, whatever the rubric
    ``chance``            what guessing scores, where all questions are multiple choice
    ``tool/rate``         tool-use rate: share of episodes with a call that returned an image
    ``tool/calls``        calls per episode; ``tool/failed``: share of them that did not run
    ``zoom/rate``         share of episodes in which a box was looked at
    ``zoom/iou``          best overlap with the ground truth, over episodes with both
    ``response/tokens``   tokens that the policy wrote in an episode; ``response/turns``: messages
    ``finish/length``     share of its messages that were cut at max new tokens; ``finish/stop``: that it ended
    ``stop/NAME``         share of episodes that ended for each reason
    ``prompt/row``        share of episodes that opened with the row's own messages, where any did
    ``prompt/unknown``    share of them whose prompt names a tool that the toolbox lacks
    ====================  =========================================================================================

    Samples that say in their metadata whether they are easy (a zoom is not needed) also give ``accuracy/hard``,
    ``accuracy/easy``, ``tool/rate/hard``, ``zoom/rate/hard`` and so on. Those that say what they need: ``tool_use``.
    """
    if not trajectories:
        return {}
    summary = summarise(trajectories)
    metrics = {names.REWARD: summary.reward}
    metrics |= {f"{names.REWARD_TERM}{name}": share for name, share in sorted(summary.reward_terms.items())}
    metrics |= _rates(summary, "")
    for name, easy in ((names.HARD, False), (names.EASY, True)):
        kind = [each for each in trajectories if each.sample.metadata.get("easy") is easy]
        metrics |= _rates(summarise(kind), name) if kind else {}
    guessing = chance(len(each.sample.options) for each in trajectories)
    if guessing is not None:
        metrics[names.CHANCE] = guessing
    metrics[names.TOOL_CALLS] = summary.tool_calls
    if summary.tool_calls:
        metrics["tool/failed"] = sum(summary.failed_calls.values()) / (summary.tool_calls * summary.episodes)
    if summary.iou is not None:
        metrics[names.ZOOM_IOU] = summary.iou
    metrics["response/turns"] = summary.turns
    if summary.tokens is not None:
        metrics[names.RESPONSE_TOKENS] = summary.tokens
    metrics |= tool_use(trajectories)
    own = [each for each in trajectories if each.metadata.get("prompt") == "row"]
    if own:
        metrics["prompt/row"] = len(own) / len(trajectories)
        metrics["prompt/unknown"] = sum(bool(unknown_tools_of(each)) for each in own) / len(own)
    metrics |= _shares("finish/", summary.finish_reasons, ("stop", "length"))
    return metrics | _shares("stop/", summary.stop_reasons, ("answer", "format_error"))


def _shares(prefix: str, counts: Mapping[str, int], always: Sequence[str]) -> dict[str, float]:
    """Return shares of what was counted; of ``always`` even where there are none: a curve is at 0 there."""
    total = sum(counts.values())
    return {f"{prefix}{name}": counts.get(name, 0) / total for name in sorted({*counts, *always})} if total else {}


def _rates(summary: Summary, suffix: str) -> dict[str, float]:
    accuracy = {} if summary.accuracy is None else {f"{names.ACCURACY}{suffix}": summary.accuracy}
    return {**accuracy, f"{names.TOOL_RATE}{suffix}": summary.tool_use, f"{names.ZOOM_RATE}{suffix}": summary.zooms}


def memory_metrics() -> dict[str, float]:
    """Return the most memory that was held so far, in MB: ``memory/peak`` by this process, ``memory/gpu_peak``."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    metrics = {"memory/peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    if torch.cuda.is_available():
        metrics["memory/gpu_peak"] = torch.cuda.max_memory_allocated() / 1e6
    return metrics
