"""The command that starts verl: its overrides, its variables, and the file of the agent loop."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.errors import DeepEyesError
from deepeyes_env.extras import needs_extra
from deepeyes_env.files import replacing
from deepeyes_env.trainers.verl.config import ESTIMATORS, VerlConfig
from deepeyes_env.trainers.verl.sources import absolute, drawn_by

with needs_extra("verl"):
    import yaml

MODULE = "verl.trainer.main_ppo"

EXTERNAL = "VERL_USE_EXTERNAL_MODULES"
"""The variable with the modules that verl imports in each of its processes."""

REGISTER = "deepeyes_env.trainers.verl.register"
CPU_PLUGIN = "deepeyes_env.trainers.verl.cpu.plugin"

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")
_NOT_TEXT = re.compile(r"(?i)(null|true|false|nan|inf|[-+.\d_]+(e[-+]?\d+)?)$")


def variables(config: VerlConfig) -> dict[str, str]:
    """Return the variables that verl's processes are started with."""
    first = (CPU_PLUGIN,) if config.engine == "deepeyes_cpu" else ()
    modules = ",".join((*first, REGISTER, *config.plugins))
    log = config.out.absolute() / "metrics.jsonl"
    return {EXTERNAL: modules, "VERL_FILE_LOGGER_PATH": str(log), **config.environment}


def agents_file(config: VerlConfig) -> Path:
    """Return where the entry of the agent loop is written: every node reads it there."""
    return config.out.absolute() / "agents.yaml"


def agents_text(config: VerlConfig) -> str:
    """Return the entry of the agent loop."""
    entry = {"name": "deepeyes", "_target_": "deepeyes_env.trainers.verl.agent_loop.DeepEyesAgentLoop", **config.loop}
    return str(yaml.safe_dump([entry], sort_keys=False))


def overrides(config: VerlConfig) -> list[str]:
    """Return what the command changes of verl's own settings, as it is written on a command line."""
    made = {**_of_data(config), **_of_actor(config), **_of_rollout(config), **_of_trainer(config)}
    if config.algorithm == "ppo":
        made |= _of_critic(config)
    if config.nodes > 1:
        made |= {f"+ray_kwargs.ray_init.runtime_env.env_vars.{name}": each for name, each in variables(config).items()}
    own = _flat(config.verl)
    given = {name.lstrip("+") for name in own}
    kept = {name: value for name, value in made.items() if name.lstrip("+") not in given}
    return [f"{name}={as_written(value)}" for name, value in {**kept, **own}.items()]


def _of_data(config: VerlConfig) -> dict[str, Any]:
    return {
        "data.train_files": [absolute(drawn_by(config.seed, name)) for name in config.train],
        "data.val_files": [absolute(name) for name in config.test],
        "data.custom_cls.path": "pkg://deepeyes_env.trainers.verl.dataset",
        "data.custom_cls.name": "DeepEyesDataset",
        "data.train_batch_size": config.prompts,
        "data.max_prompt_length": config.prompt_tokens,
        "data.max_response_length": config.response_tokens,
        "data.seed": config.seed % 2**32,
    }


def _of_actor(config: VerlConfig) -> dict[str, Any]:
    actor = "actor_rollout_ref.actor"
    return {
        "actor_rollout_ref.model.path": str(config.folder.absolute()),
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        "actor_rollout_ref.model.use_fused_kernels": True,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": config.lr,
        f"{actor}.ppo_mini_batch_size": config.mini_batch,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": config.tokens_per_gpu,
        f"{actor}.ulysses_sequence_parallel_size": config.sequence_parallel,
        f"{actor}.use_kl_loss": config.kl > 0,
        f"{actor}.kl_loss_coef": config.kl,
        f"{actor}.entropy_coeff": 0,
        f"{actor}.fsdp_config.param_offload": config.offload,
        f"{actor}.fsdp_config.optimizer_offload": config.offload,
        "actor_rollout_ref.ref.fsdp_config.param_offload": config.offload,
    }


def _of_rollout(config: VerlConfig) -> dict[str, Any]:
    rollout = "actor_rollout_ref.rollout"
    images = {f"+{rollout}.limit_images": config.settings.max_images} if config.engine == "vllm" else {}
    return {
        f"{rollout}.name": config.engine,
        f"{rollout}.n": config.group_size,
        f"{rollout}.seed": config.seed % 2**32,
        f"{rollout}.temperature": config.temperature,
        f"{rollout}.max_model_len": config.context,
        f"{rollout}.gpu_memory_utilization": config.engine_memory,
        f"{rollout}.tensor_model_parallel_size": config.tensor_parallel,
        f"{rollout}.calculate_log_probs": True,
        f"{rollout}.agent.num_workers": config.workers,
        f"{rollout}.agent.agent_loop_config_path": str(agents_file(config)),
        f"+{rollout}.agent.agent_loop_manager_class": "deepeyes_env.trainers.verl.manager.ReplacingLoopManager",
        **images,
    }


def _of_trainer(config: VerlConfig) -> dict[str, Any]:
    return {
        "algorithm.adv_estimator": ESTIMATORS[config.algorithm],
        "algorithm.use_kl_in_reward": False,
        "trainer.v1.trainer_mode": "deepeyes",
        "trainer.nnodes": config.nodes,
        "trainer.n_gpus_per_node": config.gpus,
        "trainer.total_training_steps": config.steps,
        "trainer.total_epochs": config.steps,  # an epoch has a step, at least
        "trainer.save_freq": config.save_every or -1,
        "trainer.test_freq": config.test_every or -1,
        "trainer.val_before_train": config.test_every > 0,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "deepeyes",
        "trainer.experiment_name": config.out.name,
        "trainer.default_local_dir": str(config.out.absolute() / "checkpoints"),
    }


def _of_critic(config: VerlConfig) -> dict[str, Any]:
    return {
        "critic.strategy": "fsdp2",
        "critic.model.path": str(config.folder.absolute()),
        "critic.optim.lr": config.critic_lr,
        "critic.ppo_max_token_len_per_gpu": config.tokens_per_gpu,
        "critic.ulysses_sequence_parallel_size": config.sequence_parallel,
        "critic.fsdp.param_offload": config.offload,
        "critic.fsdp.optimizer_offload": config.offload,
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def as_written(value: Any) -> str:
    """Return a value as verl's command line reads it (Hydra's grammar of overrides)."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{as_written(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_written, value)) + "]"
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and not _NOT_TEXT.match(value):
        return value
    # Hydra halves the backslashes before a quotation mark, and no others.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + (r"\'" if found[2] else ""), value) + "'"


def shell_text(config: VerlConfig) -> str:
    """Return the whole command as one would type it into a shell, the file of the agent loop before it."""
    entry = "".join(f"#   {line}\n" for line in agents_text(config).splitlines())
    named = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables(config).items())
    command = [f"{named} python -m {MODULE}", *map(shlex.quote, overrides(config))]
    return f"# {agents_file(config)}:\n{entry}" + " \\\n    ".join(command)


def start(config: VerlConfig) -> None:
    """Write the file of the agent loop, and run verl's trainer to its end.

    Raises:
        DeepEyesError: It failed; what it said stands above.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    with replacing(agents_file(config)) as beside:
        beside.write_text(agents_text(config), encoding="utf-8")
    command = [sys.executable, "-m", MODULE, *overrides(config)]
    status = subprocess.run(command, env={**os.environ, **variables(config)}).returncode
    if status:
        raise DeepEyesError(f"verl's trainer ended with status {status}; what it said stands above")
