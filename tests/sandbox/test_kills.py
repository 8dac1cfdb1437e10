"""kill -9 of whatever a session hangs on: cells are run again, or the end is told; nothing hangs."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deepeyes_env.sandbox import Limits, Session
from deepeyes_env.sandbox.local.memory import descendants
from tests.sandbox.conftest import local_sandbox

LONG = "import time\nprint('begun', x)\ntime.sleep({})\nprint('done')"


@pytest.fixture
def doomed():
    with local_sandbox() as started:
        yield started


def in_flight(pid):
    """Wait until a cell prints in a session: its process sleeps."""
    for _ in range(1000):
        if any("nanosleep" in (Path(f"/proc/{each}/wchan").read_text()) for each in descendants(pid)):
            return
        time.sleep(0.01)
    raise AssertionError("no cell began")


def running(session, code):
    results = []
    thread = threading.Thread(target=lambda: results.append(session.run(code)), daemon=True)
    thread.start()
    return thread, results


def test_a_session_that_is_killed_in_a_cell_runs_it_again(sandbox, make_session):
    before = sandbox.pids()
    session = make_session()
    session.run("x = 1")
    (pid,) = sandbox.pids() - before
    thread, results = running(session, LONG.format(0.5))
    in_flight(pid)
    os.kill(pid, signal.SIGKILL)
    thread.join(60)
    (got,) = results
    assert (got.stdout, got.error, session.lost) == ("begun 1\ndone\n", None, 1)
    assert "the cells were run again" in got.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["bubblewrap", "warm parent"])
def test_cells_in_flight_outlive_what_they_hang_on(doomed, victim):
    sessions = [Session(sandbox=doomed) for _ in range(3)]
    idle = Session(sandbox=doomed)
    for number, each in enumerate([*sessions, idle]):
        each.run(f"x = {number}")
    bubblewrap, warm = descendants(doomed.parent_pid)[:2]
    old = doomed.pids()
    started = [running(each, LONG.format(2)) for each in sessions]
    for pid in sorted(old)[:3]:
        in_flight(pid)
    os.kill(bubblewrap if victim == "bubblewrap" else warm, signal.SIGKILL)
    for number, (thread, results) in enumerate(started):
        thread.join(120)
        (got,) = results
        assert (got.stdout, got.error) == (f"begun {number}\ndone\n", None)
        assert "the cells were run again" in got.notes[0]
    assert idle.run("print(x)").stdout == "3\n"
    assert [each.lost for each in (*sessions, idle)] == [1] * 4
    assert doomed.parent_pid != bubblewrap
    assert not any(Path(f"/proc/{pid}").exists() for pid in (bubblewrap, warm, *old))
    for each in (*sessions, idle):
        each.close()


@pytest.mark.slow
def test_sessions_that_open_while_the_warm_parent_is_killed(doomed):
    def one(number):
        with Session(sandbox=doomed, limits=Limits(cell_seconds=20)) as session:
            return session.run(f"print({number})")

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(one, number) for number in range(60)]
        for after in (10, 30):
            while sum(each.done() for each in futures) < after:
                time.sleep(0.005)
            os.kill(descendants(doomed.parent_pid)[1], signal.SIGKILL)
        assert [each.result(120).stdout for each in futures] == [f"{number}\n" for number in range(60)]
