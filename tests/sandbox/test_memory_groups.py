"""Control groups that bound a session's memory: where they lie, what is written; real ones where there can be any."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.sandbox import Limits, Session
from deepeyes_env.sandbox.local import LocalSandbox
from deepeyes_env.sandbox.local.memory_groups import MemoryGroups, find_groups
from tests.sandbox.conftest import local_sandbox

V1 = "31 23 0:26 {root} {mounted} rw,relatime - cgroup cgroup rw,memory"
V2 = "30 23 0:25 {root} {mounted} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"


@pytest.fixture
def machine(tmp_path):
    """Function that writes what the kernel tells of a process's control groups, and returns the folder."""

    def write(groups, *mounts, root="/", folders=(), hands_on=()):
        mounted = tmp_path / "groups"
        for folder in (*folders, ""):
            (mounted / folder).mkdir(parents=True, exist_ok=True)
            (mounted / folder / "cgroup.subtree_control").write_text("cpu memory pids" if folder in hands_on else "cpu")
        (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in groups))
        lines = [line.format(root=root, mounted=mounted) for line in mounts]
        (tmp_path / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/vda rw\n" + "".join(f"{x}\n" for x in lines))
        return tmp_path

    return write


def made(groups):
    """The folder and the files of a group of 5 MB, made in a file tree: there only what is written is there."""
    assert isinstance(groups, MemoryGroups), groups
    group = groups.make(5_000_000)
    group.add(123)
    return group.path, {each.name: each.read_text() for each in group.path.iterdir()}


@pytest.fixture(autouse=True)
def files_go_with_their_folders(monkeypatch, request):
    """A kernel removes the files of a control group with its folder; a file tree wants them removed first."""
    if "machine" not in request.fixturenames:
        return
    rmdir = Path.rmdir

    def removed(path):
        for file in path.iterdir():
            file.unlink()
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", removed)


def test_version_1_lies_below_this_process(machine):
    proc = machine(["4:memory:/a/b", "3:cpu:/c"], V1, folders=("a/b",))
    path, files = made(find_groups(proc))
    assert path.parent == proc / "groups/a/b"
    assert path.name.startswith(f"deepeyes-{os.getpid()}-")
    assert files == {"memory.limit_in_bytes": "5000000", "cgroup.procs": "123"}


def test_a_container_sees_a_part_of_the_groups(machine):
    proc = machine(["4:cpu,memory:/docker/x/y"], V1, root="/docker/x", folders=("y",))
    assert made(find_groups(proc))[0].parent == proc / "groups/y"
    told = find_groups(machine(["4:memory:/other"], V1, root="/docker/x"))
    assert told == "no control groups of memory are mounted"


def test_version_2_lies_beside_this_process_which_can_have_none_below(machine):
    proc = machine(["0::/app/mine"], V2, folders=("app", "app/mine"), hands_on=("app",))
    path, files = made(find_groups(proc))
    assert path.parent == proc / "groups/app"
    assert files == {"memory.max": "5000000", "cgroup.procs": "123"}


def test_version_2_where_nothing_hands_on_memory(machine):
    proc = machine(["0::/app/mine"], V2, folders=("app", "app/mine"))
    assert find_groups(proc) == "no control groups of memory are mounted"


def test_what_cannot_be_written_is_told(machine):
    proc = machine(["4:memory:/gone"], V1)
    assert find_groups(proc) == f"{proc}/groups/gone: No such file or directory"


def test_groups_of_processes_that_were_killed_are_removed(machine):
    proc = machine(["4:memory:/"], V1, folders=("deepeyes-999999999-1", f"deepeyes-{os.getpid()}-0"))
    find_groups(proc)
    assert sorted(each.name for each in (proc / "groups").glob("deepeyes-*")) == [f"deepeyes-{os.getpid()}-0"]


def test_a_sandbox_says_how_memory_is_bounded():
    groups = find_groups()
    told = LocalSandbox().describe().partition("memory of a session: ")[2]
    assert told == (f"a watchdog, every 50 ms ({groups})" if isinstance(groups, str) else groups.kind)
    assert LocalSandbox(control_groups=False).describe().endswith("a watchdog, every 50 ms (not wanted)")


@pytest.fixture
def real():
    groups = find_groups()
    if isinstance(groups, str):
        pytest.skip(f"no control groups can be made here: {groups}")
    return groups


def test_a_session_is_in_a_group_of_its_own(real, sandbox, make_session):
    before = sandbox.pids()
    make_session(memory=300 << 20).run("1")
    (pid,) = sandbox.pids() - before
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if "deepeyes-" in line)
    folder = real.folder / Path(line).name
    (limit,) = (folder / name for name in ("memory.limit_in_bytes", "memory.max") if (folder / name).exists())
    assert int(limit.read_text()) == 300 << 20


def test_groups_of_a_sandbox_that_closes_or_is_killed_are_removed(real):
    def there():
        return {each.name for each in real.folder.glob(f"deepeyes-{os.getpid()}-*")}

    others = there()
    with local_sandbox() as sandbox:
        sessions = [Session(sandbox=sandbox, limits=Limits(memory=300 << 20)) for _ in range(3)]
        for session in sessions:
            session.run("x = 1")
        assert len(there() - others) == 3
        os.kill(sandbox.parent_pid, signal.SIGKILL)
        assert sessions[0].run("print(x)").stdout == "1\n"
    assert there() == others


@pytest.mark.integration
def test_groups_of_a_process_that_ends_are_removed(real):
    code = (
        "import os\nfrom deepeyes_env.sandbox import Session\n"
        "sessions = [Session() for _ in range(3)]\nfor each in sessions:\n    each.run('x = bytes(1 << 26)')\n"
        "print(os.getpid(), *os.listdir(os.sys.argv[1]))"
    )
    line = [sys.executable, "-c", code, str(real.folder)]
    told = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(line, env=told, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    pid, *there = ran.stdout.split()
    assert sum(name.startswith(f"deepeyes-{pid}-") for name in there) == 3
    assert list(real.folder.glob(f"deepeyes-{pid}-*")) == []
