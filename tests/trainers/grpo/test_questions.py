"""The questions of a run: in which sizes their images are shown."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.families import family_of
from deepeyes_env.data import load
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.grpo.build import make_env
from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.questions import Questions, file_view
from deepeyes_env.trainers.tiny import BASE
from tests.trainers.grpo.small_runs import config


def directory(folder, **pixels):
    """The shipped model directory with other settings of the image processor."""
    shutil.copytree(BASE, folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8")) | pixels
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_a_model_s_own_bounds_reach_training(tmp_path):
    model = directory(tmp_path / "model", min_pixels=200 * 28 * 28, max_pixels=512 * 28 * 28)
    own = config(tmp_path / "run", f"model={model}", "data=mine.parquet")
    assert file_view(own) == ViewBudget(200 * 28 * 28, 512 * 28 * 28)
    asked = config(tmp_path / "run", f"model={model}", "data=mine.parquet", f"env.max_pixels={256 * 28 * 28}")
    assert file_view(asked) == ViewBudget(200 * 28 * 28, 256 * 28 * 28)
    view = file_view(own)
    processor = family_of(model).view
    for size in ((3000, 2000), (40, 30), (500, 400)):
        shown = view.fit(size)
        assert processor.resized(shown) == shown, "the processor leaves it as it is"


def test_a_model_without_bounds_of_its_own_leaves_the_settings(tmp_path):
    assert file_view(config(tmp_path, "data=mine.parquet")) == ViewBudget(56 * 56, 1280 * 28 * 28)


def test_a_model_that_is_not_there_is_named_as_ever(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        file_view(config(tmp_path, "model=nowhere", "data=mine.parquet"))


def test_environments_show_images_and_read_boxes_as_the_models_family_does(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl"}')
    settings = ["rollout.backend=threads", "rollout.prompts=1", "rollout.group_size=2", "evaluation.samples=0"]
    begun = config(tmp_path / "run", *settings, f"model={tmp_path}", "scenes.view_pixels=16384")
    env = make_env(begun, Questions(begun))
    try:
        _, infos = env.reset(seed=0)
        for trajectory in infos["trajectory"]:
            assert trajectory.frame == "norm1000"
            assert trajectory.prompt.images[0].size == (128, 128)
    finally:
        env.close()


@pytest.mark.parametrize("data", ["image_search", "pattern_pairs", "nested_search"])
def test_other_built_in_tasks_come_with_their_own_settings(data):
    run = load_config([f"data={data}", "evaluation.samples=6", "seed=3"])
    questions = Questions(run)
    assert questions.view is None
    assert file_view(run) == questions.dataset.view == load(data).view
    assert questions.dataset[5] == load(data, seed=3)[5]
    assert list(questions.held_out) == list(load(data, split="test", seed=run.evaluation.seed, length=6))
    with pytest.raises(UsageError, match=r"evaluation\.data"):
        load_config([f"data={data}", "evaluation.data=mine.jsonl"])
