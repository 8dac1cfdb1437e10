"""Training runs of unmodified verl on this machine's CPU: its own command, our modules, the shipped tiny policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.questions import scenes
from deepeyes_env.trainers.tiny import BASE

HERE = Path(__file__).parent
SITE = HERE.parent / "servers" / "site"
"""Lets torchvision be imported beside a CPU build of torch."""

MODULES = "deepeyes_env.trainers.verl.cpu.plugin,deepeyes_env.trainers.verl.register,deepeyes_verl_spy"


@dataclass(frozen=True)
class Step:
    """A step of training, as the trainer itself wrote it down.

    Attributes:
        number: Its number, from 1.
        rows: What was trained on, rollout by rollout.
        metrics: What verl logged.
    """

    number: int
    rows: list[dict]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A training run with the batch of the laptop preset.

    Attributes:
        out: Its folder.
        steps: How many steps.
        seed: Of the scenes, their order, and what is sampled.
        loop: Settings of the agent loop beside the preset's.
        more: Further overrides of verl's configuration.
        train: Data set to train on; by default the preset's scenes.
        model: The model directory.
        prompts: Questions of a step; by default the preset's.
        group_size: Rollouts of each; by default the preset's.
        micro_batch: Rollouts in one backward pass; by default all.
        lengths: Most tokens of a prompt, and of what follows it.
        timeout: Seconds after which it is given up.
    """

    out: Path
    steps: int
    seed: int = 0
    loop: dict[str, object] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    train: str = ""
    model: Path = BASE
    prompts: int = load_config().rollout.prompts
    group_size: int = load_config().rollout.group_size
    micro_batch: int = 0
    lengths: tuple[int, int] = (128, 256)
    timeout: int = 3600

    def play(self) -> list[Step]:
        """Run it; returns its steps."""
        self.out.mkdir(parents=True)
        held_out, train = self._write_scenes()
        command = [sys.executable, "-W", "ignore", "-m", "verl.trainer.main_ppo", *self._overrides(train, held_out)]
        with (self.out / "log.txt").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                command, cwd=self.out, env=self._variables(), stdout=log, stderr=subprocess.STDOUT, timeout=self.timeout
            )
        assert done.returncode == 0, (self.out / "log.txt").read_text(encoding="utf-8", errors="replace")[-4000:]
        lines = (self.out / "spy.jsonl").read_text(encoding="utf-8").splitlines()
        return [Step(each["step"], each["rows"], each["metrics"]) for each in map(json.loads, lines)]

    @property
    def validations(self) -> list[dict[str, float]]:
        """What verl's file logger wrote of each validation, in order."""
        lines = (self.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        logged = map(json.loads, lines)
        return [each["data"] for each in logged if any(name.startswith("val-") for name in each["data"])]

    def _write_scenes(self) -> tuple[Path, str]:
        config = load_config([f"seed={self.seed}"])
        tasks = {
            "held_out": scenes(config, "test", config.evaluation.seed, config.evaluation.samples),
            "train": scenes(config, "train", self.seed, 4000),
        }
        for name, task in tasks.items():
            settings = {key: value for key, value in asdict(task).items() if not key.startswith("_")}
            (self.out / f"{name}.json").write_text(json.dumps(settings), encoding="utf-8")
        return self.out / "held_out.json", self.train or str(self.out / "train.json")

    def _variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(SITE), str(HERE / "modules")]),
            "VERL_USE_EXTERNAL_MODULES": MODULES,
            "VERL_FILE_LOGGER_PATH": str(self.out / "metrics.jsonl"),
            "DEEPEYES_SPY": str(self.out / "spy.jsonl"),
            "HF_HUB_OFFLINE": "1",
            "HYDRA_FULL_ERROR": "1",
            "OMP_NUM_THREADS": "1",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_worker_niceness": "0",  # by default Ray gives way to whatever else runs
            "TOKENIZERS_PARALLELISM": "false",
            "WANDB_MODE": "disabled",
        }

    def _overrides(self, train: str, held_out: Path) -> list[str]:
        preset = load_config()
        entry = {
            "name": "deepeyes",
            "_target_": "deepeyes_env.trainers.verl.agent_loop.DeepEyesAgentLoop",
            "max_turns": preset.env.max_turns,
            "max_new_tokens": preset.rollout.max_new_tokens,
            "record": str(self.out / "episodes"),
            **self.loop,
        }
        agents = self.out / "agents.yaml"
        agents.write_text(json.dumps([entry]), encoding="utf-8")  # JSON is YAML
        rollouts = self.micro_batch or self.prompts * self.group_size
        model, actor, server = (f"actor_rollout_ref.{name}" for name in ("model", "actor", "rollout"))
        precision = f"+{actor}.fsdp_config.mixed_precision"
        return [
            f"data.train_files={train}",
            f"data.val_files={held_out}",
            "data.custom_cls.path=pkg://deepeyes_env.trainers.verl.dataset",
            "data.custom_cls.name=DeepEyesDataset",
            f"data.train_batch_size={self.prompts}",
            f"data.max_prompt_length={self.lengths[0]}",
            f"data.max_response_length={self.lengths[1]}",
            "data.dataloader_num_workers=0",
            f"data.seed={self.seed}",
            f"{model}.path={self.model}",
            f"+{model}.override_config.attn_implementation=sdpa",
            f"{model}.use_remove_padding=False",
            f"{model}.enable_gradient_checkpointing=False",
            f"{actor}.strategy=fsdp2",
            f"{actor}.ppo_mini_batch_size={self.prompts}",
            f"{actor}.ppo_micro_batch_size_per_gpu={rollouts}",
            f"{actor}.use_kl_loss=False",
            f"{actor}.optim.lr={preset.optim.lr}",
            f"{actor}.optim.weight_decay={preset.optim.weight_decay}",
            f"{actor}.optim.betas=[{preset.optim.betas[0]},{preset.optim.betas[1]}]",
            f"{actor}.use_torch_compile=False",
            f"{actor}.fsdp_config.use_torch_compile=False",
            f"{actor}.fsdp_config.model_dtype=fp32",
            *(f"{precision}.{kind}_dtype=fp32" for kind in ("param", "reduce", "buffer")),
            f"{server}.name=deepeyes_cpu",
            f"{server}.n={self.group_size}",
            f"{server}.seed={self.seed}",
            f"{server}.tensor_model_parallel_size=1",
            f"{server}.log_prob_micro_batch_size_per_gpu={rollouts}",
            f"{server}.calculate_log_probs=True",
            f"{server}.agent.num_workers=1",
            f"{server}.agent.agent_loop_config_path={agents}",
            f"{server}.val_kwargs.temperature={preset.evaluation.temperature}",
            f"{server}.val_kwargs.do_sample=True",
            "algorithm.adv_estimator=deepeyes_grpo",
            "reward.num_workers=1",
            "trainer.device=cpu",
            "trainer.n_gpus_per_node=1",
            "trainer.nnodes=1",
            "trainer.logger=[console,file]",
            "trainer.val_before_train=False",
            f"trainer.total_training_steps={self.steps}",
            "trainer.total_epochs=1000",
            "trainer.save_freq=-1",
            "trainer.test_freq=-1",
            f"trainer.default_local_dir={self.out / 'checkpoints'}",
            "trainer.v1.trainer_mode=spy",
            "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
            "ray_kwargs.ray_init.num_cpus=16",
            "+ray_kwargs.ray_init.num_gpus=1",
            "+ray_kwargs.ray_init.include_dashboard=False",
            *self.more,
        ]
