"""Settings: presets, files, overrides, and error messages."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.trainers.grpo.config import Config, load_config
from deepeyes_env.trainers.grpo.questions import Questions


def test_defaults_are_the_tiny_preset():
    assert load_config() == Config()


def test_a_model_directory_starts_from_its_own_preset():
    config = load_config(["model=/models/qwen", "data=my.parquet"])
    assert (config.optim.lr, config.rollout.max_new_tokens, config.env.max_turns) == (1e-6, 1024, 6)
    assert load_config(["model=/models/other"], Path("tiny")).optim.lr == Config().optim.lr


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 7\nrollout:\n  prompts: 3\n  group_size: 5\n", encoding="utf-8")
    config = load_config(["rollout.prompts=4", "optim.lr=2e-4", "scenes.objects=[1, 1]", "log.wandb=null"], path)
    assert (config.steps, config.rollout.prompts, config.rollout.group_size) == (7, 4, 5)
    assert (config.optim.lr, config.scenes.objects, config.log.wandb) == (2e-4, (1, 1), None)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    config = load_config(["seed=3", "scenes.objects=[1, 2]", "out=there"])
    config.save(tmp_path / "config.yaml")
    assert load_config((), tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rollout.promts=4", r"unknown setting rollout\.promts; did you mean rollout\.prompts\?"),
        ("group_size=4", r"unknown setting group_size; did you mean rollout\.group_size\?"),
        ("zzz=4", "unknown setting zzz; known settings: model, data"),
        ("steps", r"'steps' is not key=value; for example rollout\.prompts=16"),
        ("steps=0", r"steps=0: .* greater than or equal to 1"),
        ("steps=many", "steps='many': .* integer"),
        ("algorithm.kl=sometimes", r"unknown algorithm\.kl 'sometimes'; known: loss, off, reward"),
        ("algorithm.aggregation=token_mean", r"unknown algorithm\.aggregation .*; did you mean 'token-mean'\?"),
        ("env.plugins=[mine]", r"unknown setting env\.plugins; did you mean plugins\?"),
        ("steps=[", "is not YAML"),
        ("rollout=3", "rollout=3"),
        ("evaluation.data=my.parquet", r"evaluation\.data='my.parquet' has no effect without data=FILE"),
        ("scenes.view_pixels=9", "scenes.view_pixels=9: .* greater than or equal to 784"),
        ("optim.betas=[2, 3]", r"optim\.betas\.0=2: .* less than 1"),
        ("optim.threads=99999999999", "optim.threads=99999999999: .* less than or equal to 1024"),
        ("rollout.max_new_tokens=999999999999", "max_new_tokens=999999999999: .* less than or equal to 1048576"),
        ("env.min_pixels=9", "env.min_pixels=9: .* greater than or equal to 784"),
        ("env.max_pixels=1000", r"env\.min_pixels=3136 is more than env\.max_pixels=1000"),
        ("seed=1" + "0" * 30, "seed=1000.*: .* less than or equal to"),
        ("algorithm={kl: loss, kl_estimator: k1}", r"kl_estimator=k1 with algorithm\.kl=loss .* use k1\+, k2 or k3\+"),
        ("optim.minibatches=9", r"optim\.minibatches=9 is more than rollout\.prompts=8"),
    ],
)
def test_wrong_settings(override, said):
    with pytest.raises(ValueError, match=said):
        load_config([override])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scenes.size=[0, 0]", r"size=\(0, 0\)\): needs sides"),
        ("scenes.size=[100, 100]", r"size=\(100, 100\)\) seen at"),
        ("scenes.objects=[0, 3]", r"objects=\(0, 3\)\): needs \(least, largest\)"),
        ("scenes.objects=[2, 300]", r"objects=\(2, 300\)\)"),
        ("scenes.tasks=[]", "tasks=.*choose from attribute"),
        ("scenes.shapes=[star]", "shapes=.*choose from"),
        ("scenes.clutter=1000000000000", "clutter=1000000000000.: needs"),
        ("scenes.view_pixels=100000000", "native pixels, and 2.5 are needed"),
    ],
)
def test_scenes_that_cannot_be_drawn(override, said):
    with pytest.raises(UsageError, match=said):
        Questions(load_config([override]))


def test_a_wrong_setting_is_told_without_a_prefix_of_pydantic():
    with pytest.raises(UsageError, match=r"^optim\.minibatches=9 is more"):
        load_config(["optim.minibatches=9"])


def test_a_group_of_one_cannot_differ():
    with pytest.raises(ValueError, match=r"raise rollout\.group_size above 1"):
        load_config(["rollout.group_size=1", "rollout.dynamic_sampling=1"])


def test_the_built_in_task_has_its_name_here_too():
    assert load_config(["data=pattern_search"]) == load_config()


def test_off_is_a_word_here():
    assert load_config(["algorithm.kl=off"]).algorithm.kl == "off"


@pytest.mark.integration
def test_wrong_files(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml' cannot be read: No such file"):
        load_config((), tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match=r"'tny' cannot be read: .*; or name a preset: did you mean 'tiny'\?"):
        load_config((), Path("tny"))
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a mapping"):
        load_config((), tmp_path / "list.yaml")
    (tmp_path / "latin.yaml").write_bytes("out: Stra\xdfe\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.yaml' is not UTF-8 text: .* at byte 9; save it as UTF-8"):
        load_config((), tmp_path / "latin.yaml")
    (tmp_path / "half.yaml").write_text("rollout: {prompts: 3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"half\.yaml' is not YAML: while parsing a flow mapping"):
        load_config((), tmp_path / "half.yaml")
    with pytest.raises(UsageError, match=r"is a folder; give a file of settings in it, such as config\.yaml"):
        load_config((), tmp_path)
    (tmp_path / "keys.yaml").write_text("{1: 2}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown setting 1;"):
        load_config((), tmp_path / "keys.yaml")
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 3000, encoding="utf-8")
    with pytest.raises(DataError, match=r"deep\.yaml' is not YAML: nested too deeply"):
        load_config((), tmp_path / "deep.yaml")
