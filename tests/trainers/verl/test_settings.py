"""Settings of the agent loop, and of which sizes it shows images."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import DataError, UnknownNameError, UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.verl.settings import LoopSettings, family_of_processor
from deepeyes_env.trainers.verl.sources import absolute, drawn_by, open_source, seed_of

PROCESSOR = SimpleNamespace(
    patch_size=14, merge_size=2, size={"shortest_edge": 4 * 28 * 28, "longest_edge": 1280 * 28 * 28}
)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"max_turn": 3}, UnknownNameError, "max_turns"),
        ({"max_turns": 0}, UsageError, "max_turns=0"),
        ({"max_new_tokens": 0}, UsageError, "leave it out"),
        ({"min_pixels": 10**9}, UsageError, "swap them"),
        ({"frame": "pixels"}, UsageError, "frame"),
    ],
)
def test_a_wrong_setting_is_told(given, error, said):
    with pytest.raises(error, match=said):
        LoopSettings.of(given)


def test_the_family_shows_what_the_processor_leaves_alone():
    family = family_of_processor("qwen2_5_vl", PROCESSOR)
    assert family.frame == "view"
    assert family.view == ViewBudget(4 * 28 * 28, 1280 * 28 * 28, 28)
    assert family_of_processor("qwen2_5_vl", PROCESSOR, "norm1000").frame == "norm1000"


@pytest.mark.parametrize("kind", [None, "gpt2", "internvl"])
def test_a_model_whose_images_cannot_be_counted_is_refused(kind):
    with pytest.raises(UsageError, match=r"known|tiles"):
        family_of_processor(kind, PROCESSOR)


@pytest.mark.parametrize("side", [1, 9, 20, 55])
def test_rows_of_low_resolution_are_scaled_up(side):
    family = family_of_processor("qwen2_5_vl", PROCESSOR)
    small = Sample(id="small", question="?", answer="a", images=(np.zeros((side, 2 * side, 3), np.uint8),))
    env = VisualToolboxEnv("VisualToolbox-v2", [small], view=family.view_within(ViewBudget()))
    _, info = env.reset(options={"index": 0})
    width, height = info["trajectory"].view_size
    assert width % 28 == height % 28 == 0
    assert width * height >= 4 * 28 * 28
    assert family.view.resized((width, height)) == (width, height)


def test_a_built_in_task_is_named_by_a_file_of_its_settings(tmp_path):
    task = pattern_search("test", length=9)
    settings = {name: value for name, value in asdict(task).items() if not name.startswith("_")}
    path = tmp_path / "task.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    found = open_source(absolute(str(path)))
    assert [sample.id for sample in found] == [sample.id for sample in task]
    assert found.view == task.view


def test_scenes_of_a_built_in_task_are_chosen_in_its_name():
    name = "pattern_search#split=test&length=9"
    assert absolute(name) == name
    assert [sample.id for sample in open_source(name)] == [sample.id for sample in pattern_search("test", length=9)]
    assert len(open_source("pattern_search")) == len(pattern_search())


def test_a_run_draws_its_scenes_by_its_seed_unless_they_say_another():
    assert open_source(drawn_by(4, "pattern_search#length=3"))[0].id == pattern_search(seed=4)[0].id
    assert open_source(drawn_by(4, "pattern_search#seed=5"))[0].id == pattern_search(seed=5)[0].id
    assert drawn_by(4, "rows.parquet") == "rows.parquet"


@pytest.mark.parametrize("choice", ["lenght=3", "length", "length=many", "seed=1;length=2"])
def test_a_choice_of_scenes_that_is_none_is_told(choice):
    with pytest.raises(UsageError, match=r"pattern_search#.*: scenes are chosen as in"):
        open_source(f"pattern_search#{choice}")


def test_a_file_is_named_the_same_wherever_a_process_works(tmp_path, monkeypatch):
    samples = [Sample(id=str(n), question="?", answer="a", images=(np.zeros((30, 30, 3), np.uint8),)) for n in range(3)]
    write_parquet(samples, tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    name = absolute("rows.parquet")
    monkeypatch.chdir("/")
    assert [sample.id for sample in open_source(name)] == ["0", "1", "2"]
    assert absolute("visual_search") == "visual_search"


def test_broken_settings_of_a_task_are_told(tmp_path):
    (tmp_path / "task.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"task\.json"):
        open_source(str(tmp_path / "task.json"))


def test_rollouts_of_a_row_get_one_seed_and_rows_get_different_ones():
    assert seed_of(0, 5) == seed_of(0, 5)
    assert len({seed_of(seed, index) for seed in range(3) for index in range(50)}) == 150
