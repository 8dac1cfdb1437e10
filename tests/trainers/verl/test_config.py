"""Settings of a run inside verl: presets, checks, and the command that they become."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.trainers.grpo.config import load_config as load_own_config
from deepeyes_env.trainers.grpo.questions import Questions
from deepeyes_env.trainers.verl.command import agents_text, as_written, overrides, shell_text, variables
from deepeyes_env.trainers.verl.config import ESTIMATORS, PRESETS, load_config
from deepeyes_env.trainers.verl.settings import LoopSettings
from deepeyes_env.trainers.verl.sources import open_source

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset(name, *changes):
    return load_config(changes, Path(name))


def written(config):
    """The overrides of a run by name."""
    return dict(each.lstrip("+").split("=", 1) for each in overrides(config))


def test_the_presets():
    assert NAMES == ["32b", "7b", "one_node_7b", "tiny", "v2_7b"]


@pytest.mark.parametrize(("name", "gpus"), [("7b", 32), ("32b", 64)])
def test_the_numbers_of_the_paper(name, gpus):
    config = preset(name)
    assert (config.prompts, config.group_size, config.response_tokens, config.steps) == (256, 16, 20480, 80)
    assert (config.kl, config.lr, config.algorithm) == (0, 1e-6, "grpo")
    assert config.settings.max_turns - 1 == 6  # calls; then the answer
    assert config.nodes * config.gpus == gpus
    told = written(config)
    assert told["data.train_batch_size"] == "256"
    assert told["actor_rollout_ref.rollout.n"] == "16"
    assert told["data.max_response_length"] == "20480"
    assert float(told["actor_rollout_ref.actor.optim.lr"]) == 1e-6
    assert told["actor_rollout_ref.actor.use_kl_loss"] == "false"
    assert told["algorithm.use_kl_in_reward"] == "false"
    assert told["trainer.total_training_steps"] == "80"


def test_what_deepeyes_v2_published():
    config = preset("v2_7b")
    assert (config.prompts, config.group_size, config.mini_batch, config.temperature) == (256, 16, 32, 1)
    assert (config.prompt_tokens, config.response_tokens, config.lr, config.kl) == (8192, 16384, 1e-6, 0)
    assert (config.settings.max_turns, config.settings.max_new_tokens) == (9, 8192)
    assert (config.nodes, config.gpus, config.node_memory) == (4, 8, 1200)
    assert (config.save_every, config.test_every) == (4, 4)


def test_the_tiny_preset_is_that_of_our_own_trainer():
    config, own = preset("tiny"), load_own_config()
    assert load_config() == config
    assert (config.prompts, config.group_size, config.lr) == (own.rollout.prompts, own.rollout.group_size, own.optim.lr)
    assert config.settings.max_turns == own.env.max_turns
    assert config.settings.max_new_tokens == own.rollout.max_new_tokens
    adam = config.verl["actor_rollout_ref"]["actor"]["optim"]
    assert (tuple(adam["betas"]), adam["weight_decay"]) == (own.optim.betas, own.optim.weight_decay)
    assert config.verl["actor_rollout_ref"]["rollout"]["val_kwargs"]["temperature"] == own.evaluation.temperature


@pytest.mark.parametrize("seed", [0, 3])
def test_the_tiny_preset_has_the_scenes_of_our_own_trainer(seed):
    config, own = preset("tiny", f"seed={seed}"), load_own_config([f"seed={seed}"])
    questions = Questions(own)
    train, test = (open_source(*as_list(written(config)[f"data.{name}_files"])) for name in ("train", "val"))
    assert [each.id for each in test] == [each.id for each in questions.held_out]
    assert train[17].images[0].digest == questions.dataset[17].images[0].digest
    assert test.view == train.view == questions.dataset.view


def as_list(text):
    return [name.strip("'") for name in text.strip("[]").split(",")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ESTIMATORS)
def test_every_preset_takes_every_algorithm(name, algorithm):
    told = written(preset(name, f"algorithm={algorithm}"))
    assert told["algorithm.adv_estimator"] == ESTIMATORS[algorithm]
    assert ("critic.model.path" in told) == (algorithm == "ppo")


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_of_the_agent_loop_is_what_the_loop_reads(name):
    ((entry),) = yaml.safe_load(agents_text(preset(name)))
    assert entry.pop("name") == "deepeyes"
    assert entry.pop("_target_").endswith(".DeepEyesAgentLoop")
    assert LoopSettings.of(entry) == preset(name).settings


def test_settings_of_verl_win_and_none_stands_twice():
    config = preset("7b", "verl.trainer.logger=[console]", "verl.+trainer.mine={a: 1}", "nodes=1")
    names = [each.lstrip("+").split("=", 1)[0] for each in overrides(config)]
    assert len(set(names)) == len(names)
    assert "trainer.logger=[console]" in overrides(config)
    assert "+trainer.mine.a=1" in overrides(config)


def test_several_nodes_get_the_variables_and_a_cpu_its_plugin():
    name = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    config = preset("7b", "plugins=[mine]")
    assert variables(config)["VERL_USE_EXTERNAL_MODULES"] == "deepeyes_env.trainers.verl.register,mine"
    assert written(config)[name] == "'deepeyes_env.trainers.verl.register,mine'"
    assert name not in written(preset("7b", "nodes=1"))
    assert variables(preset("tiny"))["VERL_USE_EXTERNAL_MODULES"].startswith("deepeyes_env.trainers.verl.cpu.plugin,")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-06, "1e-06"),
        ("a/b-c.yaml", "a/b-c.yaml"),
        ("1e5", "'1e5'"),
        ("true", "'true'"),
        ("", "''"),
        ("it's", r"'it\'s'"),
        ("a b,c", "'a b,c'"),
        (["a", 1], "[a,1]"),
        ({"a": [1, "b c"]}, "{a:[1,'b c']}"),
    ],
)
def test_values_as_hydra_reads_them(value, text):
    assert as_written(value) == text


def test_the_command_is_one_that_a_shell_reads():
    config = preset("7b")
    lines = [line for line in shell_text(config).splitlines() if not line.startswith("#")]
    words = shlex.split("".join(lines).replace("\\ ", " "))
    assert words[:4] == [*(f"{name}={each}" for name, each in variables(config).items()), "python", "-m"]
    assert words[4:] == ["verl.trainer.main_ppo", *overrides(config)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("promts=3", "did you mean 'prompts'"),
        ("loop.max_turn=3", "max_turns"),
        ("loop.max_turns=0", "max_turns=0"),
        ("mini_batch=100", "mini_batch=100: must divide the 256 prompts"),
        ("sequence_parallel=3", "sequence_parallel=3: must divide the 32 GPUs"),
        ("micro_batch_tokens=1000", "the longest episode has 28672 tokens"),
        ("group_size=1", "group_size=1: grpo compares"),
        ("algorithm=grop", "algorithm='grop'"),
        ("engine_memory=2", "engine_memory=2"),
    ],
)
def test_wrong_settings_are_told(change, told):
    with pytest.raises(UsageError, match=told):
        preset("7b", change)


def test_an_unknown_preset_is_told_with_those_there_are():
    with pytest.raises(UnknownNameError, match="32b"):
        preset("9b")


def test_the_rollouts_of_an_update_divide_among_the_gpus():
    with pytest.raises(UsageError, match="12 rollouts must divide among 32 GPUs"):
        preset("7b", "prompts=4", "mini_batch=4", "group_size=3")
