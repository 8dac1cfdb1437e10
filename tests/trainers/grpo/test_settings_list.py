"""The list of settings is made from the sections, and has all of them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.cli.app import app
from deepeyes_env.trainers.grpo.config import Config, load_config
from deepeyes_env.trainers.grpo.settings_list import list_settings


def test_every_setting_is_listed_with_what_it_means():
    listed = {setting.name: setting for setting in list_settings(Config())}
    flat = {
        f"{name}.{inner}" if isinstance(value, dict) else name: None
        for name, value in Config().model_dump(mode="json").items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert list(listed) == list(flat)
    assert all(setting.about.endswith(".") and "\n" not in setting.about for setting in listed.values())
    assert listed["optim.schedule"].kind == "constant | linear | cosine"
    assert listed["scenes.size"].kind == "[integer, integer]"
    assert listed["scenes.tasks"].kind == "[text, ...]"
    assert listed["rollout.actors"].kind == "integer | null"
    assert (listed["log.rl_logging_board"].kind, listed["log.rl_logging_board"].value) == ("true | false", "false")


def test_listed_values_are_those_that_settings_take():
    given = [f"{each.name}={each.value}" for each in list_settings(Config()) if each.value != "[]"]
    assert load_config(given) == Config()


def test_the_command_lists_those_of_a_run_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(app, ["train", "--list-settings", "--config", "qwen2_5_vl", "optim.schedule=cosine"])
    assert outcome.exit_code == 0
    assert "optim.lr=1e-06  (number)\n    Learning rate of AdamW.\n" in outcome.output
    assert "optim.schedule=cosine  (constant | linear | cosine)\n" in outcome.output
    assert list(tmp_path.iterdir()) == []
