"""Whose words a training run's episodes open with."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env import Sample, UsageError
from deepeyes_env.data import write_jsonl
from deepeyes_env.trainers.grpo.build import make_env
from deepeyes_env.trainers.grpo.config import differences, load_config
from deepeyes_env.trainers.grpo.metrics import rollout_metrics
from deepeyes_env.trainers.grpo.questions import Questions
from deepeyes_env.trainers.grpo.settings_list import list_settings
from tests.conftest import pattern, zoom_text
from tests.trainers.grpo.small_runs import config

SYSTEM = 'Call {"name": "look_closer", "arguments": {}}.'
MESSAGES = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": "<image>Colour? Think."})


@pytest.fixture
def rows(tmp_path):
    samples = [Sample(f"s{i}", "Colour?", "red", pattern(224, 224), messages=MESSAGES) for i in range(4)]
    write_jsonl(samples, tmp_path / "rows.jsonl")
    (tmp_path / "mine.yaml").write_text('system: "Look."\nobservation: "[{{ results }}]"\n')
    return tmp_path / "rows.jsonl"


def first_episode(settings):
    vector = make_env(settings, Questions(settings))
    vector.reset(options={"index": 0})
    vector.step([zoom_text([10, 10, 200, 200])] * vector.num_envs)
    episode = vector.call("trajectory")[0]
    vector.close()
    return episode


@pytest.mark.parametrize("backend", ["threads", pytest.param("ray", marks=pytest.mark.slow)])
def test_episodes_open_with_the_words_that_the_settings_choose(rows, tmp_path, backend):
    few = (f"data={rows}", "evaluation.samples=1", f"rollout.backend={backend}", "rollout.actors=1")
    own = first_episode(config(tmp_path / "run", *few))
    assert (own.system_prompt, own.prompt.text) == (SYSTEM, "<image>Colour? Think.")
    assert own.turns[0].observation.text == "<tool_response><image> Think.</tool_response>"
    template = f"env.prompt_template={rows.parent / 'mine.yaml'}"
    forced = first_episode(config(tmp_path / "run", *few, "env.prompt=protocol", template))
    assert forced.system_prompt == "Look."
    assert forced.turns[0].observation.text == "[<image>]"
    metrics = rollout_metrics([own, forced])
    assert (metrics["prompt/row"], metrics["prompt/unknown"]) == (0.5, 1.0)
    assert "prompt/row" not in rollout_metrics([forced])


def test_a_template_is_recorded_by_what_it_says(rows, tmp_path):
    settings = config(tmp_path / "run", f"env.prompt_template={rows.parent / 'mine.yaml'}")
    parts = {"system": "Look.", "observation": "[{{ results }}]"}
    assert settings.env.prompt_template == parts
    settings.save(tmp_path / "config.yaml")
    (rows.parent / "mine.yaml").unlink()
    again = load_config((), tmp_path / "config.yaml")
    assert again.env.prompt_template == parts
    assert differences(settings, again) == {}
    (changed,) = differences(
        settings, load_config(["env.prompt_template.system=Hm."], tmp_path / "config.yaml")
    ).items()
    assert changed == ("env.prompt_template.system", ("Look.", "Hm."))
    none = differences(settings, load_config(["env.prompt_template=null"], tmp_path / "config.yaml"))
    assert none["env.prompt_template.system"] == ("Look.", None)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("env.prompt=rows", "unknown env.prompt 'rows'; did you mean 'row'"),
        ("env.prompt_template=none.yaml", "none.yaml' cannot be read"),
        ("env.prompt_template={sistem: x}", "did you mean 'system'"),
    ],
)
def test_wrong_words_are_refused(override, reason, tmp_path):
    with pytest.raises(UsageError) as caught:
        config(tmp_path, override)
    assert reason in str(caught.value)


def test_the_settings_are_listed(tmp_path):
    kinds = {setting.name: setting.kind for setting in list_settings(config(tmp_path))}
    assert kinds["env.prompt"] == "auto | row | protocol"
    assert kinds["env.prompt_template"] == "{text: text} | null"
