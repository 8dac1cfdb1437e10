"""A run in a dozen numbers."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from deepeyes_env.core import RewardTerm, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.trajectories import Summary, summarise

Make = Callable[..., Trajectory]


def test_a_run(make_episode: Make) -> None:
    found = (640.0, 380.0, 700.0, 410.0)  # the car itself
    half = (640.0, 380.0, 670.0, 410.0)
    run = [
        make_episode(right=True, boxes=(half, found)),
        make_episode(right=False, boxes=(half,)),
        make_episode(right=False, boxes=(), error="bbox_2d: x1 must be less than x2"),
        replace(make_episode(right=None, boxes=()), stop_reason="max_turns"),
    ]
    summary = summarise(iter(run))
    assert summary.episodes == 4
    assert summary.accuracy == pytest.approx(1 / 3)
    assert summary.reward == pytest.approx((0.8 + 1.2) / 4)
    assert summary.reward_terms == pytest.approx({"acc": 0.8 / 4, "format": 0.0, "tool": 1.2 / 4})
    assert summary.tool_calls == 1.0
    assert summary.failed_calls == {"bad_arguments": 1}
    assert summary.iou == pytest.approx((1.0 + 0.5) / 2)
    assert summary.turns == pytest.approx((3 + 2 + 2 + 1) / 4)
    assert summary.stop_reasons == {"answer": 3, "max_turns": 1}


def test_terms_add_up_to_the_reward(make_episode: Make) -> None:
    routed = make_episode().scored({"acc": RewardTerm(1.0, 1.2)})
    summary = summarise([routed, make_episode(right=True), make_episode(right=False)])
    assert sum(summary.reward_terms.values()) == pytest.approx(summary.reward)


def test_boxes_that_were_refused_do_not_count(make_episode: Make) -> None:
    episode = make_episode(boxes=())
    refused = ToolResult(ToolCall("zoom", {}), status="failed", box=episode.sample.boxes[0])
    rotated = ToolResult(ToolCall("rotate", {"angle": 90}))
    assert summarise([replace(episode, turns=(Turn("", results=(refused, rotated)),))]).iou is None


def test_nothing_to_summarise() -> None:
    assert summarise([]) == Summary()


def test_one_pass_keeps_nothing(make_episode: Make) -> None:
    alive = 0

    class Counted(Trajectory):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def run() -> Iterator[Trajectory]:
        nonlocal alive
        episode = make_episode()
        for _ in range(50):
            alive += 1
            yield Counted(episode.sample, episode.prompt)
            assert alive <= 2

    assert summarise(run()).episodes == 50
