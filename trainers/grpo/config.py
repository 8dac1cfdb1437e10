"""Config: every setting of a training run, typed, from a preset, a YAML file and ``key=value`` overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from deepeyes_env.core import MAX_SEED
from deepeyes_env.data.dataset import PATTERN_SEARCH, VISUAL_SEARCH
from deepeyes_env.envs.vector.backends import RAY
from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.files import replacing
from deepeyes_env.images import ViewBudget
from deepeyes_env.registry import nearest, unknown_name
from deepeyes_env.trainers.algorithms import Aggregation, KLEstimator
from deepeyes_env.trainers.grpo.settings_file import PRESETS, parse_override, read_settings_file

TINY = "tiny"
"""The name of the shipped tiny policy, in place of a model directory."""

_LEAST_VIEW = ViewBudget().factor ** 2
_Beta: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Some settings that belong together; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class SceneSettings(Section):
    """The built-in task; see ``deepeyes_env.data.visual_search.VisualSearch`` for what the settings mean.

    Attributes:
        size: ``(width, height)`` of a scene in native pixels.
        view_pixels: Number of pixels at which scenes and crops are shown.
        tasks: Which questions to ask.
        objects: Least and largest number of objects.
        shapes: Shapes of objects.
        easy: Share of questions that can be answered without a zoom.
        clutter: Number of loose bars.
    """

    size: tuple[int, int] = (448, 448)
    view_pixels: int = Field(default=112 * 112, ge=_LEAST_VIEW)
    tasks: tuple[str, ...] = ("attribute",)
    objects: tuple[int, int] = (2, 3)
    shapes: tuple[str, ...] = ("square",)
    easy: float = Field(default=0.3, ge=0, le=1)
    clutter: int = Field(default=0, ge=0)


class EnvSettings(Section):
    """The environment that is played.

    Attributes:
        toolbox: Id of the environment.
        rubric: Reward formula; ``auto`` is the environment's own.
        max_turns: Maximum turns of an episode: messages that the policy may write.
        min_pixels: Minimum number of pixels at which an image of a data file is shown.
        max_pixels: Maximum number of pixels at which an image of a data file is shown.
        image_memory: Megabytes of decoded images that each process keeps; give it what a batch of questions needs.
    """

    toolbox: str = "VisualToolbox-v2"
    rubric: str = "auto"
    max_turns: int = Field(default=3, ge=1)
    min_pixels: int = Field(default=56 * 56, ge=_LEAST_VIEW)
    max_pixels: int = Field(default=1280 * 28 * 28, ge=_LEAST_VIEW)
    image_memory: int = Field(default=128, ge=0)


class RolloutSettings(Section):
    """How episodes are played.

    Attributes:
        prompts: Questions in a step.
        group_size: Episodes of each question.
        temperature: Sampling temperature.
        max_new_tokens: Maximum new tokens of one message.
        backend: Where the environments live: ``ray`` spreads them over Ray actors, ``threads`` keeps them in this
            process; or another one of ``deepeyes_env.envs.vector.BACKENDS``.
        actors: Number of actors (or threads), by default one for each free CPU but those that ``optim.threads`` takes.
        max_wait: Seconds that a decode batch waits for environments that are slower than the rest.
        dynamic_sampling: How many times further questions are played to replace groups of equal reward, which are left
            out (DAPO, arXiv 2503.14476); 0: never.
    """

    prompts: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=32, ge=1, le=2**20)
    backend: str = RAY
    actors: int | None = Field(default=None, ge=1)
    max_wait: float = Field(default=1.0, ge=0)
    dynamic_sampling: int = Field(default=0, ge=0)


class AlgorithmSettings(Section):
    """What is optimised; see ``deepeyes_env.trainers.algorithms``.

    Attributes:
        advantage: Name of the advantage estimator.
        loss: Name of the policy loss.
        aggregation: How the losses of tokens become one number.
        clip_low: How far the probability ratio may fall below 1.
        clip_high: How far it may rise above 1.
        dual_clip: Bound of the ratio for negative advantages.
        gamma: Discount per token.
        lam: The lambda of GAE.
        kl: Where the KL divergence from the base policy is penalised: in the loss, in the reward, or not at all.
        kl_coefficient: Weight of the KL penalty.
        kl_estimator: How the divergence is estimated.
        entropy_coefficient: Weight of the entropy bonus.
        value_coefficient: Weight of the value loss, for estimators with a value head.
    """

    advantage: str = "grpo"
    loss: str = "ppo"
    aggregation: Aggregation = "token-mean"
    clip_low: float = Field(default=0.2, ge=0)
    clip_high: float = Field(default=0.2, ge=0)
    dual_clip: float = Field(default=3.0, gt=1)
    gamma: float = Field(default=1.0, ge=0, le=1)
    lam: float = Field(default=1.0, ge=0, le=1)
    kl: Literal["off", "loss", "reward"] = "off"
    kl_coefficient: float = Field(default=0.001, ge=0)
    kl_estimator: KLEstimator = "k3"
    entropy_coefficient: float = Field(default=0.0, ge=0)
    value_coefficient: float = Field(default=0.5, ge=0)

    @field_validator("kl", mode="before")
    @classmethod
    def _off_is_no_boolean(cls, value: Any) -> Any:
        return "off" if value is False else value  # which is how YAML reads a bare off


class OptimSettings(Section):
    """The optimizer.

    Attributes:
        lr: Learning rate of AdamW.
        warmup: Steps of linear warm-up of the learning rate.
        betas: Of AdamW.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm.
        epochs: Passes over the episodes of a step.
        minibatches: Optimizer steps in an epoch.
        micro_batch_tokens: Maximum number of tokens in one backward pass.
        dtype: Type of activations; ``auto`` is ``bfloat16`` on a GPU, else ``float32``. Weights are ``float32``.
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
        device: ``auto`` is a GPU where there is one.
        threads: Threads of torch on a CPU.
    """

    lr: float = Field(default=3e-4, gt=0)
    warmup: int = Field(default=5, ge=0)
    betas: tuple[_Beta, _Beta] = (0.9, 0.98)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=1, ge=1)
    minibatches: int = Field(default=1, ge=1)
    micro_batch_tokens: int = Field(default=65536, ge=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    device: str = "auto"
    threads: int = Field(default=1, ge=1, le=1024)


class EvaluationSettings(Section):
    """Held-out questions, each played once.

    Attributes:
        every: Steps between evaluations; 0: only before and after.
        samples: How many questions.
        data: Data file to take them from; by default the last ones of the training data, which are not trained on.
        seed: Seed of the held-out scenes of the built-in task.
        temperature: Sampling temperature; 0 decodes greedily.
    """

    every: int = Field(default=20, ge=0)
    samples: int = Field(default=128, ge=0)
    data: str | None = None
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    temperature: float = Field(default=1.0, ge=0)


class CheckpointSettings(Section):
    """When checkpoints are written.

    Attributes:
        every: Steps between checkpoints; the last step always has one. 0: only the last.
        keep: How many to keep.
    """

    every: int = Field(default=20, ge=0)
    keep: int = Field(default=2, ge=1)


class LogSettings(Section):
    """Where metrics go besides ``metrics.jsonl`` and TensorBoard.

    Attributes:
        wandb: Name of a Weights & Biases project.
        rl_logging_board: Write every episode for RL Logging Board.
    """

    wandb: str | None = None
    rl_logging_board: bool = False


class Config(Section):
    """A training run.

    Attributes:
        model: ``tiny``, or the folder of a Qwen2.5-VL-style model.
        data: ``visual_search`` for the built-in task, or a data file.
        out: Folder of the run.
        steps: How many steps.
        seed: Seed of all random draws.
        scenes: The built-in task.
        env: The environment.
        rollout: How episodes are played.
        algorithm: What is optimised.
        optim: The optimizer.
        evaluation: Held-out questions.
        checkpoint: When checkpoints are written.
        log: Where metrics go.
        plugins: Plugins that the run was begun with. That they stand here does not load them: the folder of a run may
            come from a stranger.
    """

    model: str = TINY
    data: str = VISUAL_SEARCH
    out: Path = Path("runs/train")
    steps: int = Field(default=120, ge=1)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    scenes: SceneSettings = SceneSettings()
    env: EnvSettings = EnvSettings()
    rollout: RolloutSettings = RolloutSettings()
    algorithm: AlgorithmSettings = AlgorithmSettings()
    optim: OptimSettings = OptimSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    log: LogSettings = LogSettings()
    plugins: tuple[str, ...] = ()

    @field_validator("data")
    @classmethod
    def _one_name(cls, data: str) -> str:
        return VISUAL_SEARCH if data == PATTERN_SEARCH else data

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.optim.minibatches > self.rollout.prompts:
            raise UsageError(
                f"optim.minibatches={self.optim.minibatches} is more than rollout.prompts={self.rollout.prompts}: "
                "a minibatch holds whole groups"
            )
        if self.rollout.dynamic_sampling and self.rollout.group_size == 1:
            raise UsageError("rollout.dynamic_sampling wants groups that can differ: raise rollout.group_size above 1")
        if self.env.min_pixels > self.env.max_pixels:
            raise UsageError(
                f"env.min_pixels={self.env.min_pixels} is more than env.max_pixels={self.env.max_pixels}; swap them"
            )
        if self.evaluation.data and self.data == VISUAL_SEARCH:
            raise UsageError(f"evaluation.data={self.evaluation.data!r} has no effect without data=FILE")
        return self

    def save(self, path: Path) -> None:
        """Write the settings as YAML."""
        with replacing(path) as beside:
            beside.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def load_config(overrides: Sequence[str] = (), path: Path | None = None) -> Config:
    """Return the settings of a run.

    Without a file, a model directory starts from the preset ``qwen2_5_vl`` and the tiny policy from ``tiny``.

    Args:
        overrides: ``key=value``, nested names with dots: ``rollout.prompts=16``. Values are YAML.
        path: A YAML file, or the name of a preset.

    Raises:
        UnknownNameError: No setting, preset or choice has that name; the message has the nearest one.
        UsageError: A value is wrong, or an override has no ``=``.
    """
    given: dict[str, Any] = {}
    for override in overrides:
        given = _merged(given, parse_override(override))
    if path is None:
        path = Path(TINY if given.get("model", TINY) == TINY else "qwen2_5_vl")
    preset = PRESETS / f"{path}.yaml"
    settings = _merged(read_settings_file(preset if preset.is_file() else path), given)
    _check_names(settings, Config)
    return validated(settings)


def validated(settings: Mapping[str, Any]) -> Config:
    """Return settings of all sections with their values checked.

    Raises:
        UnknownNameError: No choice has that name.
        UsageError: A value is wrong; the message names the first one.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise _told(error) from None


def _told(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, UsageError):
        return reason
    name, value = ".".join(map(str, first["loc"])), first["input"]
    if first["type"] == "literal_error" and isinstance(value, str):
        return unknown_name(name, value, _choices(first["loc"]))
    return UsageError(f"{name}={value!r}: {first['msg']}" if name else first["msg"])


def _choices(place: Sequence[int | str]) -> tuple[str, ...]:
    kind: Any = Config
    for part in place:
        kind = kind.model_fields[part].annotation
    return get_args(kind)


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Return what the settings that differ were and are, by their full names."""
    before, now = (_flat(config.model_dump(mode="json")) for config in (old, new))
    return {name: (before[name], now[name]) for name in now if before[name] != now[name]}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _check_names(settings: Mapping[str, Any], section: type[BaseModel], prefix: str = "") -> None:
    for name, value in settings.items():
        if name not in section.model_fields:
            raise UnknownNameError(f"unknown setting {prefix}{name}{_nearest(f'{prefix}{name}')}")
        kind = section.model_fields[name].annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_names(value, kind, f"{prefix}{name}.")


def _nearest(name: str) -> str:
    known = _names(Config)
    by_last_part = {full.rsplit(".", 1)[-1]: full for full in known}
    near = nearest(name, known, cutoff=0.75)
    near = near or [by_last_part[last] for last in nearest(name.rsplit(".", 1)[-1], by_last_part)]
    return f"; did you mean {near[0]}?" if near else f"; known settings: {', '.join(known)}"


def _names(section: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        names += _names(kind, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]  # type: ignore[arg-type]
    return names
