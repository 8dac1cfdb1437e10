"""Where programs cannot be shut in, none runs, and the refusal has the remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.sandbox import IsolationError, Session
from deepeyes_env.sandbox.local import LocalSandbox

FORBIDDEN = """
import sys
from deepeyes_env.sandbox import IsolationError, Session
from deepeyes_env.sandbox.local import LocalSandbox
from deepeyes_env.sandbox.local.system_calls import filter_program
from deepeyes_env.sandbox.worker import kernel_calls

program = filter_program()
kernel_calls.no_new_privileges()
kernel_calls.Filter(program).install()  # among much else it forbids new namespaces, to root too
try:
    Session(sandbox=LocalSandbox()).run(f"open({sys.argv[1]!r}, 'w')")
except IsolationError as error:
    print(error)
"""


@pytest.mark.integration
def test_where_namespaces_are_forbidden_nothing_runs(tmp_path):
    pytest.importorskip("pyseccomp")
    told = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-c", FORBIDDEN, str(tmp_path / "ran")]
    ran = subprocess.run(line, env=told, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "bubblewrap may not make namespaces here" in ran.stdout
    assert "sysctl user.max_user_namespaces" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_bubblewrap_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IsolationError, match="apt-get install bubblewrap libseccomp2"):
        Session(sandbox=LocalSandbox()).run("print(1)")


def test_a_start_that_takes_too_long_is_told_as_such(monkeypatch, sandbox):
    monkeypatch.setattr("deepeyes_env.sandbox.local.sandbox.START_SECONDS", 0.001)
    with pytest.raises(IsolationError, match=r"did not start in 0\.001 s; is the machine overloaded"):
        Session(sandbox=LocalSandbox()).run("print(1)")
