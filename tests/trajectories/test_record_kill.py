"""A writer that is killed, and a disk that is full."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.core import Message, Sample, Trajectory
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories

WRITER = """
import itertools
import sys
import numpy as np
from deepeyes_env.core import Message, Sample, Trajectory
from deepeyes_env.trajectories import TrajectoryWriter

with TrajectoryWriter(sys.argv[1]) as writer:
    for i in itertools.count():
        image = np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8)
        sample = Sample(str(i), "?", "a", (image,))
        writer.write(Trajectory(sample, Message("<image>", sample.images), system_prompt="long " * 100_000))
        print(i + 1, flush=True)
"""

HOLDER = """
import sys
from deepeyes_env.trajectories import TrajectoryWriter

writer = TrajectoryWriter(sys.argv[1])
print("open", flush=True)
input()
"""


@pytest.mark.integration
@pytest.mark.parametrize("written_before_the_kill", [1, 7, 20])
def test_killed_while_writing(tmp_path: Path, written_before_the_kill: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == written_before_the_kill:
            break
    process.send_signal(signal.SIGKILL)
    acknowledged = written_before_the_kill + len(process.stdout.readlines())
    assert process.wait() == -signal.SIGKILL

    read = list(read_trajectories(tmp_path))
    assert len(read) in (acknowledged, acknowledged + 1)
    assert [t.sample.id for t in read] == [str(i) for i in range(len(read))]
    assert all(t.sample.images[0].pixels().shape == (64, 64, 3) for t in read)

    with TrajectoryWriter(tmp_path) as writer:
        writer.write(read[0])
    assert len(list(read_trajectories(tmp_path))) == len(read) + 1


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are POSIX's")
    sample = Sample("s", "?", "a", (ImageRef(b"not an image, never decoded"),))
    small = Trajectory(sample, Message("<image>", sample.images))
    large = Trajectory(sample, Message("<image>", sample.images), system_prompt="x" * 100_000)
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(small)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                writer.write(large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        writer.write(small)
    assert list(read_trajectories(tmp_path)) == [small, small]


@pytest.mark.integration
def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes) as other:
        other.stdout.readline()
        with pytest.raises(FileExistsError, match="is being written by another process"):
            TrajectoryWriter(tmp_path)
        other.kill()
    with TrajectoryWriter(tmp_path), pytest.raises(FileExistsError, match="another writer of this one"):
        TrajectoryWriter(tmp_path)
    TrajectoryWriter(tmp_path).close()
