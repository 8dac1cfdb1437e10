"""The indentation of programs: what compiles is not touched."""

import contextlib
import io

import pytest

from deepeyes_env.sandbox.worker.indentation import mended
from tests.conftest import read_golden

RECORDS = read_golden("deepeyes_v2_indentation.jsonl")


def printed(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, "<c>", "exec"), {"__name__": "__main__"})
        except SyntaxError as error:
            return f"{type(error).__name__}: {error}"
    return out.getvalue()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["kind"])
def test_recorded_programs_print_what_they_printed(record):
    code, told = mended(record["code"])
    if record["kind"] == "broken indentation is mended":
        assert told is not None
        assert printed(code) == record["fixed_prints"]
    else:
        assert (code, told) == (record["code"], None)
        assert printed(code) == record["prints"]


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("    x = 1\n    print(x)", "x = 1\nprint(x)"),
        (" x = 1\nprint(x)", "x = 1\nprint(x)"),
        ("if True:\n\tx = 1\n        print(x)", "if True:\n        x = 1\n        print(x)"),
        ("x = 1\n    if x:\n        print(x)\nprint(2)", "x = 1\nif x:\n    print(x)\nprint(2)"),
    ],
)
def test_mended(broken, whole):
    code, told = mended(broken)
    assert code == whole
    assert told


@pytest.mark.parametrize("code", ["if True:\nx = 1", "for i in (1, 2):\n", "def f(:\n  pass", "x = (", "\0", "%time x"])
def test_not_guessed(code):
    assert mended(code) == (code, None)
