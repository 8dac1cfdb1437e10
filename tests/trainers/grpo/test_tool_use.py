"""Accuracy and uses of tools by task and by need."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from deepeyes_env.core import Message, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.data.visual_search import CodeSearch
from deepeyes_env.trainers.grpo.metrics import rollout_metrics
from deepeyes_env.trainers.grpo.tool_use import tool_use, uses_of
from deepeyes_env.trainers.tracking.tool_use_curves import plot_tool_use


def episode(sample, *calls):
    turns = tuple(Turn("", results=(ToolResult(ToolCall(name, arguments)),)) for name, arguments in calls)
    return Trajectory(sample, Message(""), turns=turns)


def test_a_program_that_only_crops_is_a_zoom(sample):
    crops = "image_1.crop((0, 4, 90, 40)).show()", "# the red square\nimage_2.crop((0, 4, 90, 40)).show()\n"
    for code in crops:
        assert uses_of(episode(sample, ("python", {"code": code}))) == {"zoom"}
    computes = "image_1.crop((0, 4, 90, 40)).rotate(3).show()", "print(1)\nimage_1.crop((0, 4, 9, 9)).show()"
    for code in computes:
        assert uses_of(episode(sample, ("python", {"code": code}))) == {"code"}
    both = episode(sample, ("python", {"code": crops[0]}), ("search", {"query": "x"}), ("zoom", {}))
    assert uses_of(both) == {"zoom", "search"}
    failed = replace(both.turns[0], results=(replace(both.turns[0].results[0], status="failed"),))
    assert uses_of(replace(both, turns=(failed,))) == set()


@pytest.mark.integration
def test_shares_are_by_task_and_by_need(tmp_path):
    count, document = (CodeSearch(easy=0, kinds=(kind,))[0] for kind in ("count", "document"))
    played = [episode(count, ("python", {"code": "1"})), episode(count), episode(document, ("search", {"query": "x"}))]
    found = tool_use(played)
    assert found["task/count/code"] == found["needs/code/code"] == 0.5
    assert found["task/document/search"] == found["needs/search/search"] == 1.0
    assert found["task/document/zoom"] == 0.0
    assert found.items() <= rollout_metrics(played).items()
    metrics = tmp_path / "metrics.jsonl"
    rows = [{"step": step, **{f"eval/{name}": value for name, value in found.items()}} for step in (0, 20)]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert plot_tool_use([metrics, metrics], tmp_path / "tool_use.png")
    assert (tmp_path / "tool_use.png").read_bytes().startswith(b"\x89PNG")


def test_other_tasks_have_none(sample, tmp_path):
    assert tool_use([episode(sample)]) == {}
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "eval/accuracy": 0.5}\n')
    assert not plot_tool_use([tmp_path / "metrics.jsonl"], tmp_path / "tool_use.png")
    assert not (tmp_path / "tool_use.png").exists()
