"""Config: every setting of a training run, typed, from a preset, a YAML file and ``key=value`` overrides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from deepeyes_env.agents.hub import model_directory
from deepeyes_env.data.dataset import BUILT_IN, PATTERN_SEARCH, VISUAL_SEARCH
from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.files import replacing
from deepeyes_env.registry import nearest, unknown_name
from deepeyes_env.rewards.presets import READS_EFFECTS
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.grpo.sections import (
    AlgorithmSettings,
    CheckpointSettings,
    CreditSettings,
    EnvSettings,
    EvaluationSettings,
    LogSettings,
    OptimSettings,
    RolloutSettings,
    SceneSettings,
    Section,
    WeightsSettings,
)
from deepeyes_env.trainers.grpo.settings_file import read_settings

TINY = "tiny"
"""The name of the shipped tiny policy, in place of a model directory."""


class Config(Section):
    """A training run.

    Attributes:
        model: ``tiny``, or the folder of a Qwen2-VL, Qwen2.5-VL or dense Qwen3-VL, or its name on the Hugging Face Hub.
        data: ``visual_search`` for the built-in task with ``scenes``, another built-in one by name, or a data file.
        out: Folder of the run.
        steps: How many steps.
        seed: Seed of all random draws.
        scenes: The built-in task ``visual_search``.
        env: The environment.
        rollout: How episodes are played.
        credit: Which episodes are played on from, to see what their calls were worth.
        weights: Which weights are trained.
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
    credit: CreditSettings = CreditSettings()
    weights: WeightsSettings = WeightsSettings()
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
        if self.env.rubric in READS_EFFECTS and not self.credit.share:
            raise UsageError(
                f"env.rubric={self.env.rubric} pays for what calls were worth, which is played only where credit.share "
                "is above 0, such as 0.25"
            )
        if self.algorithm.kl == "loss" and self.algorithm.kl_estimator == "k1":
            raise UsageError(
                "algorithm.kl_estimator=k1 with algorithm.kl=loss has a gradient of 0 on average; use k1+, k2 or k3+"
            )
        if self.env.min_pixels > self.env.max_pixels:
            raise UsageError(
                f"env.min_pixels={self.env.min_pixels} is more than env.max_pixels={self.env.max_pixels}; swap them"
            )
        if (self.rollout.max_episode_tokens or math.inf) <= self.rollout.max_new_tokens:
            raise UsageError(
                f"rollout.max_episode_tokens={self.rollout.max_episode_tokens} leaves no room for a prompt beside "
                f"rollout.max_new_tokens={self.rollout.max_new_tokens}; raise it"
            )
        if (self.evaluation.patience or self.checkpoint.best) and not self.evaluation.samples:
            name = "evaluation.patience" if self.evaluation.patience else "checkpoint.best"
            raise UsageError(f"{name} goes by held-out accuracy: raise evaluation.samples above 0")
        if self.evaluation.patience and not self.evaluation.every:
            raise UsageError("evaluation.patience counts evaluations during the run: raise evaluation.every above 0")
        if self.evaluation.data and self.data in BUILT_IN:
            raise UsageError(f"evaluation.data={self.evaluation.data!r} has no effect without data=FILE")
        return self

    def save(self, path: Path) -> None:
        """Write the settings as YAML."""
        with replacing(path) as beside:
            beside.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def model_folder(config: Config) -> Path:
    """Return the model directory that a run starts from; one of the Hugging Face Hub's is fetched if need be.

    Raises:
        UsageError: It is a name on the Hub, and cannot be fetched.
    """
    from deepeyes_env.trainers.tiny import BASE

    return BASE if config.model == TINY else model_directory(config.model)


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
    if path is None:
        given = read_settings(overrides, None)
        path = Path(TINY if given.get("model", TINY) == TINY else "qwen2_5_vl")
    settings = read_settings(overrides, path)
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
    names = dict.fromkeys((*now, *before))  # parts of a prompt template come and go
    return {name: (before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


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
