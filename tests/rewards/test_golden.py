"""The presets against the original's reward functions (``golden/rewards.jsonl``)."""

import json
import re
from pathlib import Path

import pytest

from deepeyes_env.core import Message, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import Verdict
from deepeyes_env.rewards import get_rubric

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "golden" / "rewards.jsonl").read_text().splitlines()]
IMAGE = ImageRef(b"never decoded", digest="0" * 64)
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"

WHERE_THE_ORIGINAL_IS_WRONG = {
    # Its pattern cuts \boxed{\frac{24}{2}} at the first closing brace and judges "\frac{24".
    ("thinklite_eureka", "equiv"): 1.2,
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
            trajectory = trajectory.extended(turn_of(text, reply))
    return trajectory


def turn_of(action: str, reply: str | None) -> Turn:
    if reply is None:
        return Turn(action)
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
