"""``deepeyes train`` killed ten times: no checkpoint is lost, and the weights are those of a run nobody disturbed."""

import itertools
import json
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.checksums import verify_checksums  # noqa: E402
from deepeyes_env.trainers.grpo.checkpoint import BEST, Checkpoints  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from deepeyes_env.trajectories import read_trajectories  # noqa: E402
from deepeyes_env.trajectories.files import RECORDS  # noqa: E402
from tests.kills.episodes import check_images  # noqa: E402
from tests.kills.killing import Killer, lines, tell, timeless, unfinished  # noqa: E402
from tests.trainers.grpo.small_runs import SMALL  # noqa: E402

KILLS, STEPS, KEPT = 10, 6, 2
SETTINGS = (
    *SMALL,
    *(f"steps={STEPS}", "checkpoint.every=1", f"checkpoint.keep={KEPT}", "checkpoint.best=true"),
    *("evaluation.every=2", "log.rl_logging_board=true"),
)
BOARD = "logging_board/rollout_data_rank0.jsonl"


def command(out):
    """The first time as such, then with ``--resume``, once there is a run to resume."""
    resume = ["--resume"] if (out / "config.yaml").exists() else []
    return ["train", *SETTINGS, f"out={out}", *resume]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_training_survives_ten_kills(tmp_path):
    whole = tmp_path / "whole"
    killer = Killer("training", command(whole), whole, seed=3)
    for number in itertools.count():
        if killer.total >= KILLS:
            break
        killed_until_done(killer, tmp_path / f"run{number}", whole)
    tell("training", [killer])


def killed_until_done(killer, out, whole):
    reached, best, alive = 0, False, True
    while alive:
        alive = killer.strike(command(out), out)
        now, best_now = checkpoints(out)
        assert now >= reached, "the checkpoint of a finished step was lost"
        assert best_now >= best, "the best model was lost"
        reached, best = now, best_now
        steps = [row["step"] for row in read_metrics(out / "metrics.jsonl")]
        assert steps == list(range(len(steps)))
        assert len(steps) > reached or not reached, "what was recorded before a checkpoint is kept"
    check_done(out, whole)


def check_done(out, whole):
    for name in (f"step_{STEPS - 1:06d}", f"step_{STEPS:06d}", BEST):
        assert weights(out / "checkpoints" / name) == weights(whole / "checkpoints" / name)
    assert metrics(out) == metrics(whole)
    (now, logprobs), (then, expected) = drawn(out), drawn(whole)
    assert now == then, "other questions or answers"
    assert logprobs == pytest.approx(expected, abs=1e-5)
    for name in ("before", "after"):
        for trajectory in read_trajectories(out / name):
            check_images(trajectory)
        assert timeless(lines(out / name / RECORDS)) == timeless(lines(whole / name / RECORDS))
    assert (out / "comparison.html").stat().st_size == (whole / "comparison.html").stat().st_size
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert unfinished(out) == []


def checkpoints(out):
    """The newest checkpoint, of which all that are there are whole and can be read; and whether there is a best one."""
    kept = Checkpoints(out / "checkpoints", KEPT)
    reached = 0
    for path in kept.found():
        verify_checksums(path)
        progress, _ = kept.load(path, torch.device("cpu"))
        reached = progress.step
        assert path.name == f"step_{reached:06d}"
    best = out / "checkpoints" / BEST
    if best.is_dir():
        verify_checksums(best)
        assert "held_out_accuracy" in json.loads((best / "best.json").read_text())
    return reached, best.is_dir()


def weights(path):
    return (path / "model.safetensors").read_bytes()


def metrics(out):
    """The metrics of all steps but for those in which equal runs differ: times, speed, memory, and rounding.

    Which episodes are generated in one batch depends on which environments are ready first, and so does the last digit
    of a log-probability, which nothing is learned from.
    """
    differ = re.compile("time/|memory/|learn/tokens_per_second|learn/logprob_gap")
    return [
        {name: value for name, value in row.items() if not differ.match(name)} for row in lines(out / "metrics.jsonl")
    ]


def drawn(out):
    """The episodes that were learned from, and the log-probabilities of all their tokens."""
    episodes = lines(out / BOARD)
    return episodes, [logprob for episode in episodes for logprob in episode.pop("logprobs")]
