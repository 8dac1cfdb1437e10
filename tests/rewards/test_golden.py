"""The presets against the original's reward functions (``golden/rewards.jsonl``)."""

import json
import re
from pathlib import Path

import pytest

from deepeyes_env.core import Message, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import Verdict, make_judge
from deepeyes_env.protocols import V2, PlainProtocol, Protocol
from deepeyes_env.rewards import get_rubric

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "golden" / "rewards.jsonl").read_text().splitlines()]
IMAGE = ImageRef(b"never decoded", digest="0" * 64)
WITHOUT_TOOLS = ("thinklite_eureka",)
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"

WHERE_THE_ORIGINAL_IS_WRONG = {
    # Its pattern cuts \boxed{\frac{24}{2}} at the first closing brace and judges "\frac{24".
    ("thinklite_eureka", "equiv"): 1.2,
    # It pays for an answer that only the thought holds.
    ("vstar", "answer_in_think"): 0.0,
    # It judges the first of two answers here, and the last one elsewhere: ours what the environment took, the last.
    ("geoguessr", "two_answers_first_right"): 0.0,
}


class EqualText:
    """The judge of the golden records: lower-cased, stripped text, or the value of a fraction."""

    def __call__(self, prediction: str, sample: Sample) -> Verdict:
        fraction = re.fullmatch(r"\\frac\{(\d+)\}\{(\d+)\}", prediction)
        if fraction:
            prediction = f"{int(fraction[1]) / int(fraction[2]):g}"
        return Verdict(float(prediction.strip().lower() == sample.answer.strip().lower()), "equal text")


def trajectory_of(row: dict[str, str]) -> Trajectory:
    sample = Sample(row["kind"], "Where is it?", row["ground_truth"], (IMAGE,), data_source=row["data_source"])
    trajectory = Trajectory(sample, Message("<image>\nWhere is it?", (IMAGE,)))
    segments = re.split(r"<\|im_end\|>\n<\|im_start\|>(user|assistant)\n", row["response"])
    messages = [("assistant", segments[0]), *zip(segments[1::2], segments[2::2], strict=True)]
    for index, (role, text) in enumerate(messages):
        if role == "assistant":
            reply = messages[index + 1][1] if index + 1 < len(messages) else None
            protocol = PlainProtocol() if row["data_source"] in WITHOUT_TOOLS else V2
            trajectory = trajectory.extended(turn_of(text, reply, protocol))
    return trajectory


def turn_of(action: str, reply: str | None, protocol: Protocol) -> Turn:
    if reply is None:
        return Turn(action, answer=protocol.parse(action).answer)
    assert (SHOWN in reply) != reply.startswith("Error:")
    call = ToolCall("image_zoom_in_tool", {})
    if SHOWN in reply:
        result = ToolResult(call, images=(IMAGE,))
        return Turn(action, results=(result,), observation=Message("<image>", (IMAGE,)))
    return Turn(action, results=(ToolResult(call, "bad_arguments", reply),), observation=Message(reply))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['data_source']}-{row['kind']}" for row in ROWS])
def test_agrees_with_the_original(row: dict[str, str]) -> None:
    scored = get_rubric("deepeyes", judge=EqualText())(trajectory_of(row))
    expected = WHERE_THE_ORIGINAL_IS_WRONG.get((row["data_source"], row["kind"]), row["score"])
    assert scored.reward == pytest.approx(expected)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['data_source']}-{row['kind']}" for row in ROWS])
def test_the_default_judges_agree_too(row: dict[str, str]) -> None:
    pytest.importorskip("math_verify", reason="without the extra 'math' a fraction is no number in LaTeX")
    scored = get_rubric("deepeyes")(trajectory_of(row))
    expected = WHERE_THE_ORIGINAL_IS_WRONG.get((row["data_source"], row["kind"]), row["score"])
    assert scored.reward == pytest.approx(expected)


def test_every_exception_is_in_the_records_and_differs() -> None:
    scores = {(row["data_source"], row["kind"]): row["score"] for row in ROWS}
    assert len(ROWS) == 28
    assert all(scores[key] != ours for key, ours in WHERE_THE_ORIGINAL_IS_WRONG.items())


# --- DeepEyesV2 ----------------------------------------------------------------------------------------------------

V2_FILE = Path(__file__).parents[1] / "golden" / "deepeyes_v2_rewards.jsonl"
V2_ROWS = [json.loads(line) for line in V2_FILE.read_text().splitlines()]

V2_DIFFERENCES = {
    "two answers, first counts": "the original judges the first, ours what the environment took, the last",
    "code tag printed by the sandbox": "the original counts marks in what tools return, ours in the model's messages",
    "think mark printed by the sandbox": "the same",
}
"""Kinds of rows on which the original decides otherwise, and why ours differs."""


def v2_trajectory_of(row: dict[str, str]) -> Trajectory:
    sample = Sample(row["kind"], "Where is it?", row["ground_truth"], (IMAGE,), data_source=row["data_source"])
    segments = re.split(r"<\|im_end\|>\n<\|im_start\|>(user|assistant)\n", row["response"])
    actions = [
        segments[0],
        *(text for role, text in zip(segments[1::2], segments[2::2], strict=True) if role != "user"),
    ]
    turns = (*map(Turn, actions[:-1]), Turn(actions[-1], answer=V2.parse(actions[-1]).answer))
    return Trajectory(sample, Message("<image>\nWhere is it?", (IMAGE,)), turns=turns)


@pytest.mark.parametrize("row", V2_ROWS, ids=[f"{row['data_source']}-{row['kind']}" for row in V2_ROWS])
def test_agrees_with_deepeyes_v2(row: dict[str, str]) -> None:
    # The original normalises mathematics on reason data alone; ours has a judge for it.
    maths = row["data_source"] == "reason" and row["kind"].startswith("math")
    judge = make_judge("math") if maths else EqualText()
    scored = get_rubric("deepeyes_v2", judge=judge)(v2_trajectory_of(row))
    agrees = scored.reward == pytest.approx(row["score"])
    assert agrees != (row["kind"] in V2_DIFFERENCES)
