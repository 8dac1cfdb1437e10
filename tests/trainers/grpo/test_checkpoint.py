"""Checkpoints: whole or not at all."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepeyes_env.checksums import CHECKSUMS  # noqa: E402
from deepeyes_env.trainers.grpo.checkpoint import CheckpointError, Checkpoints, Progress  # noqa: E402

CPU = torch.device("cpu")


class Policy:
    """Stands for whatever can be saved: here, a file."""

    def __init__(self, path="weights", error=None):
        self.path, self.error = path, error

    def save(self, folder):
        (Path(folder) / self.path).write_text("weights", encoding="utf-8")
        if self.error:
            raise self.error


def test_what_is_saved_is_loaded_with_random_numbers(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.save(Progress(20, 160), Policy(), {"optimizer": {"a": torch.arange(3)}})
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    progress, states = checkpoints.load(path, CPU)
    assert progress == Progress(20, 160)
    assert states["optimizer"]["a"].tolist() == [0, 1, 2]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert (path / "weights").read_text(encoding="utf-8") == "weights"


def test_old_ones_go(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 10, 15):
        checkpoints.save(Progress(step, 0), Policy(), {})
    assert [path.name for path in checkpoints.found()] == ["step_000010", "step_000015"]


def test_a_full_disk_leaves_the_last_one_and_says_so(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(Progress(5, 0), Policy(), {})
    full = OSError(28, "No space left on device")
    with pytest.raises(CheckpointError, match=r"No space left on device.*last complete one is .*step_000005.*--resume"):
        checkpoints.save(Progress(10, 0), Policy(error=full), {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000005"]


def test_a_real_full_disk(tmp_path):
    """Writing to /dev/full fails as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")

    class Full(Policy):
        def save(self, folder):
            (Path(folder) / "model").symlink_to("/dev/full")
            (Path(folder) / "model").write_text("x" * 100_000, encoding="utf-8")

    with pytest.raises(CheckpointError, match="there is none yet"):
        Checkpoints(tmp_path, keep=1).save(Progress(1, 0), Full(), {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_incomplete_does_not_count(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(Progress(5, 0), Policy(), {})
    (tmp_path / "step_000010").mkdir()
    assert [path.name for path in checkpoints.found()] == ["step_000005"]
    checkpoints.save(Progress(12, 0), Policy(), {})
    assert [path.name for path in checkpoints.found()] == ["step_000005", "step_000012"]


def test_a_strangers_file_outlives_the_checkpoint_that_it_lies_in(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    (checkpoints.save(Progress(5, 0), Policy(), {}) / "notes.txt").touch()
    checkpoints.save(Progress(10, 0), Policy(), {})
    assert [path.name for path in checkpoints.found()] == ["step_000010"]
    assert [path.name for path in (tmp_path / "step_000005").iterdir()] == ["notes.txt"]


def test_one_that_cannot_be_read_is_named(tmp_path):
    path = Checkpoints(tmp_path, keep=1).save(Progress(5, 0), Policy(), {})
    (path / "state.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"step_000005 cannot be read .* delete it to resume from an earlier one"):
        Checkpoints(tmp_path, keep=1).load(path, CPU)


class Evil:
    """A stranger's state: unpickling it writes a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_strangers_state_executes_nothing(tmp_path, zipped):
    checkpoints = Checkpoints(tmp_path, keep=1)
    path = checkpoints.save(Progress(5, 0), Policy(), {})
    whole = torch.load(path / "state.pt", weights_only=True)
    proof = tmp_path / "executed"
    if zipped:
        torch.save({**whole, "optimizer": Evil(proof)}, path / "state.pt")
    else:
        (path / "state.pt").write_bytes(pickle.dumps({**whole, "optimizer": Evil(proof)}))
    with pytest.raises(CheckpointError, match="step_000005 cannot be read"):
        checkpoints.load(path, CPU)
    assert not proof.exists()


def test_a_checkpoint_has_the_checksums_of_all_its_files(tmp_path):
    path = Checkpoints(tmp_path, keep=1).save(Progress(5, 0), Policy(), {})
    listed = (path / CHECKSUMS).read_text(encoding="utf-8")
    assert all(f'"{file.name}"' in listed for file in path.iterdir() if file.name != CHECKSUMS)
