"""Hostile programs: none gets out, none hangs, and the neighbour's episode goes on."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deepeyes_env.sandbox import Limits, Session
from deepeyes_env.sandbox.local import LocalSandbox
from deepeyes_env.sandbox.local.memory import descendants
from tests.conftest import pattern
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.conftest import frozen, local_sandbox

TRUTH = "the-ground-truth-of-this-question"
LIMITS = Limits(memory=400 << 20, disk=64 << 20, processes=40)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A sandbox that starts with a secret in the environment, and what there is to be attacked on the host."""
    os.environ["SECRET"] = TRUTH
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text(TRUTH)
    listening = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0deepeyes-{os.getpid()}")
    abstract.listen()
    with local_sandbox() as sandbox, Session(sandbox=sandbox, limits=LIMITS) as neighbour:
        neighbour.run("y = 41")
        (other,) = sandbox.pids()
        told = {
            "host": str(folder / "secret"),
            "port": listening.getsockname()[1],
            "abstract": abstract.getsockname(),
            "pid": os.getpid(),
            "other": other,
            "warm": descendants(sandbox.parent_pid)[1],
            "backwards": TRUTH[::-1],
        }
        yield sandbox, neighbour, told
    del os.environ["SECRET"]
    listening.close()
    abstract.close()


def each_attack(attacks):
    marked = [pytest.param(each, marks=pytest.mark.slow) if each.slow else each for each in attacks]
    return pytest.mark.parametrize("attack", marked, ids=lambda attack: attack.name.replace(" ", "-"))


@pytest.fixture(scope="module")
def watched():
    with local_sandbox(LocalSandbox(control_groups=False)) as sandbox:
        yield sandbox


@each_attack([each for each in ATTACKS if each.name.startswith("memory ")])
def test_memory_is_bounded_where_there_are_no_control_groups_too(attack, watched, attacked):
    _, *rest = attacked
    attempt(attack, watched, *rest)


@each_attack(ATTACKS)
def test_attack(attack, attacked):
    attempt(attack, *attacked)


def attempt(attack, sandbox, neighbour, told):
    code = re.sub(r"\{(\w+)(!r)?\}", lambda found: _filled(found, told), attack.code)
    limits = replace(LIMITS, cell_seconds=attack.seconds)
    with Session([frozen(pattern(64, 48))], sandbox=sandbox, limits=limits) as session:
        got = session.run(code)
        assert "ESCAPED" not in got.stdout
        outcome = "\n".join([got.error or "", got.stdout, got.stderr, *got.notes])
        assert re.search(attack.expected, outcome), outcome[:2000]
        assert session.lost == int(got.ended)
        if not attack.poisons:
            later = session.run("print('a later cell')")
            assert (later.stdout, later.error) == ("a later cell\n", None)
    assert Path(told["host"]).read_text() == TRUTH
    assert [each.name for each in Path(told["host"]).parent.iterdir()] == ["secret"]
    assert neighbour.run("print(y)").stdout == "41\n"
    assert neighbour.lost == 0


def test_sessions_on_one_image_tell_each_other_nothing(attacked):
    """Neither by the position of its descriptor nor by locks on what both see."""
    sandbox, _, _ = attacked
    image = frozen(pattern(64, 48))
    find = (
        "import fcntl, os, struct\n"
        "fd = [fd for fd in range(3, 64) if 'memfd' in os.readlink(f'/proc/self/fd/{fd}')][0]\n"
        "null = open('/dev/null', 'r+b')\n"
    ).replace("if 'memfd'", "if os.path.exists(f'/proc/self/fd/{fd}') and 'memfd'")
    say = find + "os.lseek(fd, 42, 0)\nfcntl.lockf(null, fcntl.LOCK_EX, 1, 42)\nfcntl.flock(fd, fcntl.LOCK_EX)"
    hear = find + (
        "lock = struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0)\n"
        "free = struct.unpack('hhqqi', fcntl.fcntl(null, fcntl.F_GETLK, lock))[0] == fcntl.F_UNLCK\n"
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\nos.lseek(fd, 0, 1), free"
    )
    with Session([image], sandbox=sandbox) as one, Session([image], sandbox=sandbox) as other:
        assert one.run(say).error is None
        assert other.run(hear).result == "(0, True)"


def test_what_lives_on_stands_still_between_cells(attacked):
    """A thread goes on with the next cell; processes that a cell left behind, also in their own session, are killed."""
    sandbox, neighbour, _ = attacked
    before = sandbox.pids()
    with Session(sandbox=sandbox) as session:
        code = (
            "import os, subprocess, threading, time\nn = 0\ndef count():\n    global n\n"
            "    while True:\n        n += 1\n        time.sleep(0.001)\n"
            "threading.Thread(target=count, daemon=True).start()\n"
            "one = subprocess.Popen(['sleep', '100'])\n"
            "line = ['sh', '-c', 'trap \"\" TERM HUP; while true; do :; done']\n"
            "other = subprocess.Popen(line, start_new_session=True)\n"
            "time.sleep(0.1)"
        )
        assert session.run(code).error is None
        (first,) = sandbox.pids() - before
        assert neighbour.run("print(y)").stdout == "41\n"
        assert eventually(lambda: [state(pid) for pid in descendants(first)], ["S", "T", "Z", "Z"])
        spent = cpu_time(first)
        time.sleep(0.3)
        assert cpu_time(first) == spent
        later = session.run("before = n\ntime.sleep(0.1)\nprint(n > before, one.poll(), other.poll())")
        assert later.stdout == "True -9 -9\n"
        assert session.lost == 0


def eventually(look, wanted):
    """Whether something is seen, within a minute."""
    for _ in range(6000):
        if look() == wanted:
            return True
        time.sleep(0.01)
    return False


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def cpu_time(pid):
    tasks = [task for each in descendants(pid) for task in Path(f"/proc/{each}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


@pytest.mark.integration
def test_databases_get_their_locks(session):
    code = "import sqlite3\nbase = sqlite3.connect('/tmp/a.db')\nbase.execute('create table t (x)')\nbase.commit()"
    assert session.run(code).error is None


def _filled(found, told):
    name, as_repr = found.groups()
    if name not in told:
        return found[0]
    return repr(told[name]) if as_repr else str(told[name])


def test_there_are_enough_and_each_has_a_name():
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names)) >= 60


def test_the_guide_lists_all():
    guide = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    assert [attack.name for attack in ATTACKS if attack.name not in guide] == []


@pytest.mark.slow
def test_an_ordinary_user_is_as_safe():
    """All of it again without root's rights, by an interpreter that lies outside root's home."""
    as_an_ordinary_user()


@pytest.mark.integration
def test_an_ordinary_user_gets_sessions():
    as_an_ordinary_user("-k", "read-a-file-of-the-host")


def as_an_ordinary_user(*chosen):
    """Run these tests without root's rights."""
    python = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin:/opt/bin")
    if os.getuid() != 0 or python is None:
        pytest.skip("needs root, and an interpreter of the same version that others may use")
    root = Path(__file__).parents[2]
    packages = [path for path in sys.path if path.endswith("site-packages")]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        line = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", python, "-m", "pytest", "-q"]
        line += ["-p", "no:cacheprovider", f"--basetemp={folder}/base", "tests/sandbox/test_attacks.py", *chosen]
        told = {"PATH": "/usr/bin:/bin", "HOME": folder, "PYTHONPATH": ":".join([str(root), *packages]), "CI": "true"}
        ran = subprocess.run(line, cwd=root, env=told, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
