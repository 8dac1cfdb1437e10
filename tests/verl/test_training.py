"""Unmodified verl trains with our agent loop, data set and rubric: what it trains on, and that the policy learns."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl.config import load_config
from deepeyes_env.trajectories import read_trajectories
from tests import realistic
from tests.trainers.faults import tear
from tests.verl.runs import Run

pytestmark = pytest.mark.slow

MAX_DIFFERENCE = 1e-3
HARD = "val-core/visual_search/hard/acc/mean@1"


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("verl") / "short", steps=3, settings=("test_every=0",))
    return run, run.play()


@pytest.fixture(scope="module")
def episodes(short_run):
    """The trajectories that the agent loop recorded, by their episode."""
    folders = (short_run[0].out / "episodes").iterdir()
    found = [each for folder in folders for each in read_trajectories(folder)]
    return {each.metadata["episode"]: each for each in found}


def test_every_rollout_of_every_step_is_trained_on(short_run, episodes):
    _, steps = short_run
    assert [step.number for step in steps] == [1, 2, 3]
    assert [len(step.rows) for step in steps] == [64, 64, 64]
    assert {row["extra_fields"]["deepeyes"]["episode"] for step in steps for row in step.rows} == set(episodes)
    assert len(episodes) == 192


def test_masks_cover_exactly_the_tokens_of_the_policy(short_run, episodes):
    """Token by token: what verl trains on against the recorded trajectory, encoded by our own chat encoding."""
    chat = VisionPolicy.load(BASE).chat
    checked = 0
    for row in (row for step in short_run[1] for row in step.rows):
        trajectory = episodes[row["extra_fields"]["deepeyes"]["episode"]]
        whole = chat.sequence(trajectory)
        assert [*row["prompts"], *row["responses"]] == whole.ids.tolist()
        mask = [0] * len(row["prompts"]) + row["response_mask"]
        assert mask == whole.mask.astype(int).tolist()
        assert row["loss_mask"] == row["response_mask"]
        written = [token for turn in trajectory.turns for token in turn.tokens.ids]
        assert [token for token, one in zip(row["responses"], row["response_mask"], strict=True) if one] == written
        assert row["reward"] == pytest.approx(trajectory.reward, abs=1e-6)
        checked += sum(mask)
    assert checked > 1000


def test_the_actor_finds_the_probabilities_that_were_sampled_from(short_run):
    for step in short_run[1]:
        assert step.metrics["training/rollout_probs_diff_valid"] == 1
        assert step.metrics["training/rollout_probs_diff_max"] < MAX_DIFFERENCE
        for row in step.rows:
            mask = np.array(row["response_mask"], bool)
            sampled, found = (np.exp(np.array(row[name])[mask]) for name in ("rollout_log_probs", "old_log_probs"))
            assert np.abs(sampled - found).max() < MAX_DIFFERENCE


def test_advantages_are_those_of_our_estimator(short_run):
    for step in short_run[1]:
        groups = {}
        for row in step.rows:
            groups.setdefault(row["uid"], []).append(row)
        assert [len(group) for group in groups.values()] == [8] * 8
        for group in groups.values():
            rewards = np.array([row["reward"] for row in group])
            for row, reward in zip(group, rewards, strict=True):
                equal = rewards.std() == 0
                wanted = 0 if equal else (reward - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
                assert np.allclose(row["advantages"], wanted * np.array(row["response_mask"]), atol=1e-4)
                assert not equal or not any(row["advantages"])


def test_what_was_played_is_among_the_metrics(short_run):
    for step in short_run[1]:
        reports = [row["extra_fields"]["reward_extra_info"] for row in step.rows]
        assert step.metrics["deepeyes/rollouts/finished"] == 64
        for name in ("acc", "reward/acc", "reward/tool", "tool/calls", "zoom/iou", "stop/answer"):
            assert step.metrics[f"deepeyes/{name}"] == pytest.approx(np.mean([report[name] for report in reports]))


def test_a_broken_row_is_masked_and_reported(tmp_path):
    """Rows of a parquet file: one image is torn, one row has no toolbox, one image is tiny. Training goes on."""
    task = pattern_search("train", length=6)
    rows = [Sample(f"row-{n}", each.question, each.answer, each.images, each.options) for n, each in enumerate(task)]
    rows.append(Sample("plain", "Which one?", "red", task[0].images, ("red", "blue"), env_name=None))
    rows.append(Sample("tiny", "Which one?", "red", (np.zeros((9, 12, 3), np.uint8),), ("red", "blue")))
    whole = task[0].images[0].pixels()
    rows[0] = Sample("torn", "Which one?", "red", (whole[:40, :40].copy(),), ("red", "blue"))
    path = tmp_path / "rows.parquet"
    write_parquet(rows, path)
    tear(path, 0)
    view = tuple(f"loop.{name}={112 * 112}" for name in ("min_pixels", "max_pixels"))
    run = Run(tmp_path / "run", 1, settings=(f"train=[{path}]", "test_every=0", *view))
    (step,) = run.play()
    failed = [row for row in step.rows if row["extra_fields"]["deepeyes"]["error"]]
    assert step.metrics["deepeyes/rollouts/failed"] == len(failed) == 8
    assert {row["deepeyes"]["index"] for row in failed} == {0}
    assert not any(any(row["response_mask"]) or any(row["advantages"]) or row["reward"] for row in failed)
    assert np.isfinite(step.metrics["actor/grad_norm"])


def test_a_realistic_directory(tmp_path):
    """Qwen's own tokenizer, grouped heads, untied and sharded bf16 weights, views of 532 pixels: three steps."""
    file = realistic.resource()
    if file is None:
        pytest.skip("dashscope is not installed: pip install --no-deps dashscope==1.14.1")
    model = realistic.build(tmp_path / "model", file)
    # Of one length, as are the messages of a policy that writes noise: unmended verl 0.9.1 stops there.
    photos = [Sample(f"row-{n}", "What is it?", "a", (noise(n),), ("a", "b")) for n in range(6)]
    write_parquet(photos, tmp_path / "rows.parquet")
    settings = (
        f"model={model}",
        f"train=[{tmp_path / 'rows.parquet'}]",
        "test_every=0",
        *(f"loop.{name}={532 * 532}" for name in ("min_pixels", "max_pixels")),
        "loop.max_new_tokens=24",
        *("prompts=2", "mini_batch=2", "group_size=2"),
        *("prompt_tokens=832", "response_tokens=128", "micro_batch_tokens=960"),  # a rollout: 0.5 GB of logits
    )
    run = Run(tmp_path / "run", 3, settings=settings)
    steps = run.play()
    chat = VisionPolicy.load(model).chat
    recorded = [each for folder in (run.out / "episodes").iterdir() for each in read_trajectories(folder)]
    episodes = {each.metadata["episode"]: each for each in recorded}
    assert [len(step.rows) for step in steps] == [4, 4, 4]
    for step in steps:
        assert step.metrics["training/rollout_probs_diff_max"] < MAX_DIFFERENCE
        for row in step.rows:
            whole = chat.sequence(episodes[row["extra_fields"]["deepeyes"]["episode"]])
            assert [*row["prompts"], *row["responses"]] == whole.ids.tolist()
            assert row["response_mask"] == whole.mask.astype(int).tolist()[len(row["prompts"]) :]
            assert sum(token == chat.image_token for token in row["prompts"]) == 19 * 19


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (600, 600, 3), np.uint8)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_tiny_policy_learns_to_zoom(tmp_path, seed):
    began = time.perf_counter()
    run = Run(tmp_path / "long", load_config().steps, seed)
    steps = run.play()
    minutes = (time.perf_counter() - began) / 60
    before, after = (each[HARD] for each in (run.validations[0], run.validations[-1]))
    worst = max(step.metrics["training/rollout_probs_diff_max"] for step in steps)
    figures = {"seed": seed, "before": before, "after": after, "minutes": minutes, "largest difference": worst}
    (tmp_path / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    assert after - before >= 0.2, figures
    assert worst < MAX_DIFFERENCE, figures
