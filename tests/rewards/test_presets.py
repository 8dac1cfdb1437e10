import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env.core import Message, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.errors import UsageTypeError
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import RuleJudge, make_judge
from deepeyes_env.protocols import V2, PlainProtocol
from deepeyes_env.rewards import Rubric, Term, get_rubric, register_rubric
from deepeyes_env.rewards.evidence import Evidence

IMAGE = ImageRef(b"never decoded", digest="0" * 64)
RIGHT, WRONG, BROKEN = (
    "<think>a</think><answer>left</answer>",
    "<think>a</think><answer>up</answer>",
    "<think>a<answer>left</answer>",
)
ZOOM = ToolResult(ToolCall("image_zoom_in_tool", {}), images=(IMAGE,))
SEARCH = ToolResult(ToolCall("search", {"query": "left"}), text="found")
FAILED = ToolResult(ToolCall("image_zoom_in_tool", {}), "failed", "no")


def play(text: str, *results: ToolResult, source: str = "vstar") -> Trajectory:
    sample = Sample("s", "Where?", "left", (IMAGE,), data_source=source)
    looked = (Turn("<think>b</think>", results=results),) if results else ()
    turns = (*looked, Turn(text, answer=(PlainProtocol() if "boxed" in text else V2).parse(text).answer))
    return Trajectory(sample, Message("<image>", (IMAGE,)), turns=turns)


@pytest.mark.parametrize(
    ("name", "right", "right_zoom", "wrong_zoom", "broken_zoom", "right_failed"),
    [
        ("deepeyes", 0.8, 2.0, 0.0, 1.8, 0.8),
        ("deepeyes_v1", 0.8, 1.2, 0.4, 1.0, 0.8),
        ("paper", 1.0, 2.0, 0.0, 1.0, 1.0),
        ("no_tool", 0.8, 0.8, 0.0, 0.6, 0.8),
        ("unconditional_tool", 0.8, 2.0, 1.2, 1.8, 0.8),
        ("deepeyes_call_penalty", 0.8, 1.9, -0.1, 1.7, 0.7),
        ("no_tool_call_penalty", 0.8, 0.7, -0.1, 0.5, 0.7),
        ("deepeyes_v2", 1.0, 1.0, 0.2, 0.8, 1.0),
    ],
)
def test_formulas(
    name: str, right: float, right_zoom: float, wrong_zoom: float, broken_zoom: float, right_failed: float
) -> None:
    rubric = get_rubric(name)
    assert rubric(play(RIGHT)).reward == pytest.approx(right)
    assert rubric(play(RIGHT, ZOOM)).reward == pytest.approx(right_zoom)
    assert rubric(play(WRONG, ZOOM)).reward == pytest.approx(wrong_zoom)
    assert rubric(play(BROKEN, ZOOM)).reward == pytest.approx(broken_zoom)
    assert rubric(play(RIGHT, FAILED)).reward == pytest.approx(right_failed)


def test_math_is_read_from_the_box() -> None:
    for source in ("thinklite_eureka", "xince"):
        boxed = play(r"<think>a</think>\boxed{left}", ZOOM, source=source)
        assert get_rubric("deepeyes")(boxed).reward == pytest.approx(1.2)
        assert get_rubric("deepeyes")(play(RIGHT, ZOOM, source=source)).reward == pytest.approx(-0.4)
        assert get_rubric("paper")(boxed).reward == pytest.approx(2.0)


def test_geoguessr_wants_the_answer_after_the_thought() -> None:
    early = "<think><answer>left</answer></think>"
    assert get_rubric("deepeyes")(play(early, source="geoguessr")).reward == pytest.approx(-0.2)
    for source in ("vstar", "vl_agent", "chart", "", "anything else"):
        assert get_rubric("deepeyes")(play(early, source=source)).reward == 0  # thoughts are not judged


def test_a_search_costs_on_search_data_only() -> None:
    rubric = get_rubric("deepeyes_v2")

    def after_search(text: str, source: str) -> float:
        call = Turn('<think>a</think><tool_call>{"name": "search", "arguments": {"query": "left"}}</tool_call>')
        played = play(text, source=source)
        return rubric(replace(played, turns=(call, *played.turns))).reward

    assert after_search(RIGHT, "search") == pytest.approx(0.92)
    assert after_search(WRONG, "search") == pytest.approx(0.2)
    for source in ("perception", "reason", "mm_search", "vstar"):
        assert after_search(RIGHT, source) == pytest.approx(1.0)


BOUNDS = {
    "deepeyes": (-0.4, 2.0),
    "deepeyes_v1": (-0.4, 1.2),
    "paper": (-1.0, 2.0),
    "no_tool": (-0.4, 1.2),
    "unconditional_tool": (-0.4, 2.0),
    "deepeyes_v2": (0.0, 1.0),
}
PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    r"\boxed{",
    "}",
    "left",
    "12",
    "<tool_call>",
    "\x00",
    "\ud800",
]
MESSAGES = st.lists(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))).map("".join), max_size=4)


@pytest.mark.parametrize(
    ("said", "answer", "score"),
    [("1 1/2", "3/2", 1.0), ("1000", "1e3", 1.0), (r"\frac{24}{2}", "12", 1.0), ("2", "12", 0.0)],
)
def test_mathematics_is_judged_as_by_name(said: str, answer: str, score: float) -> None:
    """``1 1/2`` was no answer to ``3/2`` here, and one to ``make_judge("math")``."""
    pytest.importorskip("math_verify")
    sample = Sample("s", "How many?", answer, (IMAGE,), data_source="thinklite_eureka")
    turns = (Turn(rf"<think>a</think>\boxed{{{said}}}", answer=rf"\boxed{{{said}}}"),)
    scored = get_rubric("deepeyes")(Trajectory(sample, Message("<image>", (IMAGE,)), turns=turns))
    verdict = make_judge("math")(said, sample)
    assert verdict is not None
    assert scored.reward_terms["acc"].raw == verdict.score == score


SOURCES = ["vstar", "geoguessr", "thinklite_eureka", "mm_search", ""]


@settings(deadline=None)
@given(MESSAGES, st.lists(st.sampled_from([ZOOM, SEARCH, FAILED]), max_size=3), st.sampled_from(SOURCES))
def test_any_text_gives_a_reward_within_bounds_and_the_same_terms(
    messages: list[str], results: list[ToolResult], source: str
) -> None:
    sample = Sample("s", "Where?", "left", (IMAGE,), data_source=source)
    turns = tuple(Turn(message, V2.parse(message).answer, tuple(results)) for message in messages)
    trajectory = Trajectory(sample, Message("<image>", (IMAGE,)), turns=turns)
    for name, (low, high) in BOUNDS.items():
        scored = get_rubric(name, judge=RuleJudge())(trajectory)
        assert low - 1e-9 <= scored.reward <= high + 1e-9
        assert list(scored.reward_terms) == ["acc", "format", *([] if name == "deepeyes_v2" else ["tool"])]
        assert scored.reward == pytest.approx(sum(term.weighted for term in scored.reward_terms.values()))


def test_a_rubric_by_name_or_as_it_is() -> None:
    mine = Rubric([Term("one", lambda e: 1.0)])
    assert get_rubric(mine) is mine
    assert get_rubric("deepeyes") is get_rubric("deepeyes")
    register_rubric("mine", mine)
    assert get_rubric("mine") is mine
    with pytest.raises(
        ValueError, match=r"unknown rubric 'deepeye'; did you mean 'deepeyes'\? known: .*deepeyes, .*mine"
    ):
        get_rubric("deepeye")
    with pytest.raises(ValueError, match="choose another name"):
        register_rubric("deepeyes", mine)


WITHOUT_MATH_VERIFY = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "math_verify" else found(name, package)
from tests.rewards.test_presets import RIGHT, play
from deepeyes_env.rewards import get_rubric
print(get_rubric("deepeyes")(play(r"<think>a</think>\\boxed{left}", source="xince")).reward)
"""


@pytest.mark.integration
def test_without_the_extra_rules_judge_the_box() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", WITHOUT_MATH_VERIFY], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "1.2", done.stderr


def test_a_plain_function_is_a_rubric_of_one_term() -> None:
    def brief(evidence: Evidence) -> float:
        return 1.0 if len(evidence.trajectory.turns) == 1 else 0.5

    assert get_rubric(brief)(play(RIGHT)).reward_terms["brief"].raw == 1.0
    zoomed = get_rubric(lambda evidence: len(evidence.trajectory.results))(play(RIGHT, ZOOM))
    assert (zoomed.reward, list(zoomed.reward_terms), zoomed.right) == (1.0, ["reward"], True)
    with pytest.raises(UsageTypeError, match="not ABCMeta"):
        get_rubric(Rubric)  # type: ignore[arg-type]
