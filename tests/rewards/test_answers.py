import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env.core import Message, Sample, Trajectory, Turn
from deepeyes_env.images import ImageRef
from deepeyes_env.protocols import V2, PlainProtocol
from deepeyes_env.rewards import boxed_answer, given_answer, required_answer, thought_and_answer
from deepeyes_env.rewards.answers import AnswerRule, boxed

IMAGE = ImageRef(b"never decoded", digest="0" * 64)
SAMPLE = Sample("s", "Where?", "left", (IMAGE,))
RULES = [given_answer, required_answer, thought_and_answer, boxed_answer]


def said(*messages: str, plain: bool = False) -> Trajectory:
    """An episode whose answer is what the protocol reads in the last message."""
    protocol = PlainProtocol() if plain else V2
    turns = tuple(Turn(message, answer=protocol.parse(message).answer) for message in messages)
    return Trajectory(SAMPLE, Message("<image>\nWhere?", (IMAGE,)), turns=turns)


def found(rule: AnswerRule, *messages: str, plain: bool = False) -> tuple[str | None, bool]:
    extraction = rule(said(*messages, plain=plain or rule is boxed_answer))
    return extraction.prediction, extraction.format_error


@pytest.mark.parametrize(
    ("text", "given", "required"),
    [
        ("<think>a</think><answer> left\n</answer>", ("left", False), ("left", False)),
        ("<answer>left</answer>", ("left", False), ("left", False)),
        ("<think>a</think><answer>left", ("left", True), (None, True)),
        ("<think>a<answer>left</answer>", ("left", True), ("left", True)),
        ("<think>a</think></think><answer>left</answer>", ("left", True), ("left", True)),
        ("<think><answer>left</answer></think>", (None, False), (None, True)),
        ("<answer>up</answer><answer>left</answer>", ("left", False), ("left", False)),
        ("<answer>left</answer><answer></answer>", (None, False), (None, True)),
        ("<answer>left<answer>up</answer>", ("up", True), ("up", True)),
        ("</answer>left<answer>", (None, False), (None, True)),
        ("left</answer>", (None, True), (None, True)),
        ("<answer> </answer>", (None, False), (None, True)),
        ("left", (None, False), (None, True)),
        ("", (None, False), (None, True)),
        ("<|vision_start|><|image_pad|><answer>left</answer>", ("left", True), ("left", True)),
    ],
)
def test_tagged_answers(text: str, given: tuple[str | None, bool], required: tuple[str | None, bool]) -> None:
    assert found(given_answer, text) == given
    assert found(required_answer, text) == required


def test_marks_are_counted_over_all_messages() -> None:
    assert found(given_answer, "<think>a", "b</think><answer>left</answer>") == ("left", False)
    assert found(given_answer, "<think>a", "<think>b</think><answer>left</answer>") == ("left", True)


@pytest.mark.parametrize("rule", [given_answer, required_answer])
def test_without_marks_the_protocols_answer_counts(rule: AnswerRule) -> None:
    assert found(rule, "<think>a</think>left", plain=True) == ("left", False)
    assert found(rule, "<think>use <answer> tags</think>left", plain=True) == ("left", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think><answer>left</answer>", ("left", False)),
        ("a</think><answer>left</answer>", ("left", False)),
        ("<answer>left</answer>", ("left", True)),
        ("<think>a<answer>left</answer>", ("left", True)),
        ("<think>a</think>left", (None, True)),
        ("<think>a</think><answer>left</answer><answer>", ("left", True)),
    ],
)
def test_thought_and_answer(text: str, expected: tuple[str | None, bool]) -> None:
    assert found(thought_and_answer, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"<think>a</think> \boxed{12}", ("12", False)),
        (r"\boxed{\frac{24}{2}}", (r"\frac{24}{2}", False)),
        (r"\boxed{\left\{ 1 \right.}", (r"\left\{ 1 \right.", False)),
        (r"\boxed {12}", ("12", False)),
        (r"\boxed{13}\boxed{12}", ("12", True)),
        (r"\boxed{\boxed{12}}", (r"\boxed{12}", False)),
        (r"\boxed{1 \boxed{12}", ("12", False)),
        (r"\boxed{12", (None, True)),
        (r"\boxed{}", (None, True)),
        (r"<think>\boxed{12}</think>", (None, True)),
        (r"<think>\boxed{13}</think>\boxed{12}", ("12", False)),
        (r"<think>\boxed{12}", (None, True)),  # a thought that was cut off answers nothing
        ("<answer>12</answer>", (None, True)),
        (r"}}}\boxed{12}", ("12", False)),
    ],
)
def test_boxed(text: str, expected: tuple[str | None, bool]) -> None:
    assert found(boxed_answer, text) == expected


@settings(deadline=None)
@given(st.text(r"\{}x"), st.text(r"\{}x", max_size=3))
def test_boxes_have_balanced_braces(before: str, after: str) -> None:
    for content in boxed(rf"{before}\boxed{{{before}}}{after}"):
        plain = content.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")


PIECES = ["<think>", "</think>", "<answer>", "</answer>", r"\boxed{", "}", "{", "left", "\\", "<|image_pad|>", "\ud800"]


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4))), max_size=4))
def test_never_raises(messages: list[list[str]]) -> None:
    for rule in RULES:
        prediction, _ = found(rule, *map("".join, messages))
        assert prediction is None or prediction == prediction.strip() != ""


@pytest.mark.parametrize("piece", [*PIECES, "<answer></think>", r"\boxed{{", r"\boxed{}"])
def test_long_texts(piece: str) -> None:
    """A megabyte: anything slower than linear would not come back."""
    trajectory = said(piece * (10**6 // len(piece)))
    for rule in RULES:
        rule(trajectory)
