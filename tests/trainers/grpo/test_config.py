"""Settings: presets, files, overrides, and error messages."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from deepeyes_env.trainers.grpo.config import Config, load_config


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
        ("optim.minibatches=9", r"optim\.minibatches=9 is more than rollout\.prompts=8"),
    ],
)
def test_wrong_settings(override, said):
    with pytest.raises(ValueError, match=said):
        load_config([override])


def test_a_group_of_one_cannot_differ():
    with pytest.raises(ValueError, match=r"raise rollout\.group_size above 1"):
        load_config(["rollout.group_size=1", "rollout.dynamic_sampling=1"])


def test_the_built_in_task_has_its_name_here_too():
    assert load_config(["data=pattern_search"]) == load_config()


def test_off_is_a_word_here():
    assert load_config(["algorithm.kl=off"]).algorithm.kl == "off"


def test_wrong_files(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml' cannot be read: No such file"):
        load_config((), tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match=r"'tny' cannot be read: .*; or name a preset: did you mean 'tiny'\?"):
        load_config((), Path("tny"))
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a mapping"):
        load_config((), tmp_path / "list.yaml")
