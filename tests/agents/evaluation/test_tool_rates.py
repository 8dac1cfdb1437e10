"""Rates, errors and time of each tool, from recorded calls."""

from deepeyes_env.agents.evaluation.tool_rates import UNREAD, CallOutcome, outcomes_of, tool_rates
from deepeyes_env.core import Message, ToolCall, ToolResult, Trajectory, Turn

FAILED = "Code execution result:\nstdout:\n```\n\n```\n\nstderr:\n```\nNameError: name 'x' is not defined\n\n```"


def test_calls_become_outcomes(sample):
    results = (
        ToolResult(ToolCall("python", {"code": "x"}), text=FAILED, seconds=0.5),
        ToolResult(ToolCall("search", {"query": "ValueError: what is it"}), text=FAILED, seconds=0.25),
        ToolResult(ToolCall("", {}), "malformed", "no JSON"),
        ToolResult(ToolCall("zoom", {}), "unknown_tool", "no such tool"),
    )
    turns = tuple(Turn("", results=(result,)) for result in results)
    assert outcomes_of(Trajectory(sample, Message(""), turns=turns)) == (
        CallOutcome("python", "NameError", 0.5),
        CallOutcome("search", "", 0.25),
        CallOutcome(UNREAD, "malformed", 0.0),
        CallOutcome("zoom", "unknown_tool", 0.0),
    )


def test_rates_are_by_tool():
    def python(error="", seconds=1.0):
        return CallOutcome("python", error, seconds)

    rates = tool_rates([[python(), python("NameError", 3.0)], [], [CallOutcome("search", "", 0.5)], [python("failed")]])
    assert list(rates) == ["python", "search"]
    code, search = rates.values()
    assert (code.rate, code.calls, code.failed) == (0.5, 0.75, 2 / 3)
    assert (code.errors, code.total_seconds) == ({"NameError": 1, "failed": 1}, 5.0)
    assert (search.rate, search.calls, search.failed, search.seconds) == (0.25, 0.25, 0.0, 0.5)
    assert tool_rates([]) == tool_rates([[], []]) == {}
