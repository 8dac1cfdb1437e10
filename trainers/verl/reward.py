"""compute_score: our rubrics as a reward function, for those who keep verl's own tool loop.

``reward.custom_reward_function.path=pkg://deepeyes_env.trainers.verl.reward`` and ``name=compute_score``; settings go
into ``reward.custom_reward_function.reward_kwargs``. The agent loop ``deepeyes`` needs none of this: it has the whole
episode, where this has the text that verl decoded from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Sample, StopReason, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.judges import Judge, RuleJudge
from deepeyes_env.protocols import Protocol
from deepeyes_env.rewards import RubricLike, get_rubric
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.verl.report import ACCURACY
from deepeyes_env.trainers.verl.sources import open_source

_BETWEEN = re.compile(r"\n(?:user|tool)\n.*?\nassistant\n", re.DOTALL)
"""What stands between two messages of the policy: verl decodes without the marks of the chat template."""

_UNSEEN = ImageRef(np.zeros((1, 1, 3), np.uint8), name="an image that the reward function is not given")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    toolbox: str = "VisualToolbox-v2",
    rubric: str = "auto",
    **_kwargs: Any,
) -> dict[str, float]:
    """Score one rollout.

    Args:
        data_source: Where the row comes from; rubrics may route by it.
        solution_str: The response as text: the policy's messages, and what tools answered in between.
        ground_truth: The right answer.
        extra_info: Of the row, with what verl's tool loop adds: ``tool_rewards``, of which those above 0 count as calls
            that returned an image.
        toolbox: Whose protocol the policy writes.
        rubric: Reward formula; ``auto`` is the toolbox's own.

    Returns:
        ``score`` and, by the names of the agent loop, what it is made of.

    Raises:
        UnknownNameError: There is no such toolbox or rubric.
        JudgeError: The judge could not be reached or understood.
    """
    extra = dict(extra_info or {})
    box = get_toolbox(toolbox)
    sample = sample_of(data_source, ground_truth, extra)
    played = trajectory_of(sample, _BETWEEN.split(solution_str), box.protocol, list(extra.get("tool_rewards") or ()))
    return score(played, box.rubric if rubric == "auto" else rubric)


def score(played: Trajectory, rubric: RubricLike | None, judge: Judge | None = None) -> dict[str, float]:
    """Return ``score`` and what it is made of, by the names of the agent loop.

    Args:
        played: An episode, as ``trajectory_of`` puts it together.
        rubric: Reward formula.
        judge: Says whether the answer is right; by default the rubric's own.

    Raises:
        UnknownNameError: There is no such rubric.
        JudgeError: The judge could not be reached or understood.
    """
    scored = played if rubric is None else get_rubric(rubric, judge).score(played, judge or RuleJudge())
    shares = {f"{names.REWARD_TERM}{name}": term.weighted for name, term in scored.reward_terms.items()}
    return {
        "score": scored.reward,
        ACCURACY: scored.correct or 0.0,
        **shares,
        names.TOOL_RATE: float(scored.used_tool),
        names.TOOL_CALLS: float(len(scored.results)),
    }


def trajectory_of(
    sample: Sample, messages: Sequence[str], protocol: Protocol, tool_rewards: Sequence[float]
) -> Trajectory:
    """Put an episode together from what the policy wrote, as far as a rubric looks at it.

    Args:
        sample: The question.
        messages: What the policy wrote, message by message.
        protocol: How it writes.
        tool_rewards: What each call was worth, in order; above 0: it returned an image.
    """
    worth = iter(tool_rewards)
    turns = []
    for message in messages:
        parsed = protocol.parse(message)
        calls = () if parsed.answer is not None else parsed.calls
        results = tuple(_result(call, next(worth, 0.0)) for call in calls if isinstance(call, ToolCall))
        turns.append(Turn(message, answer=parsed.answer, results=results))
    answered = bool(turns) and turns[-1].answer is not None
    cut = bool(turns) and bool(turns[-1].results)
    stop: StopReason = "answer" if answered else "max_turns" if cut else "format_error"
    prompt = Message(f"{IMAGE_PLACEHOLDER}\n{sample.question}", sample.images)
    return Trajectory(sample, prompt, turns=tuple(turns), stop_reason=stop, terminated=not cut, truncated=cut)


def _result(call: ToolCall, worth: float) -> ToolResult:
    return ToolResult(call, "ok", images=(_UNSEEN,)) if worth > 0 else ToolResult(call, "failed")


def sample_of(data_source: str, ground_truth: str, extra: Mapping[str, Any]) -> Sample:
    """Return the sample of a row: ours, where the row says which one it is; else what the row tells of it."""
    where = extra.get("deepeyes")
    if where:
        return open_source(where["source"])[int(where["index"])]
    question = str(extra.get("question") or "?").replace(IMAGE_PLACEHOLDER, "")
    options = tuple(extra.get("options") or ())
    return Sample(
        id=str(extra.get("sample_id") or extra.get("index") or "?"),
        question=question,
        answer=str(ground_truth),
        images=(_UNSEEN,),
        options=options if ground_truth in options else (),
        data_source=data_source,
    )
