"""Sections: the settings of a training run by what they belong to; ``deepeyes train --list-settings`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deepeyes_env.envs.prompt_files import get_prompt_template
from deepeyes_env.envs.row_prompt import PromptSource
from deepeyes_env.envs.vector.backends import RAY
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images import ViewBudget
from deepeyes_env.registry import unknown_name
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.algorithms import Aggregation, KLEstimator

Schedule: TypeAlias = Literal["constant", "linear", "cosine"]

_LEAST_VIEW = ViewBudget().factor ** 2
_Beta: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Some settings that belong together; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


Sectioned = TypeVar("Sectioned", bound=Section)


def checked(kind: type[Sectioned], given: Mapping[str, Any]) -> Sectioned:
    """Return settings that stand on one level, with names and values checked.

    Raises:
        UnknownNameError: No setting has that name; the message has the nearest one.
        UsageError: A value is wrong; the message names the first one.
    """
    for name in given:
        if name not in kind.model_fields:
            raise unknown_name("setting", name, kind.model_fields)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first.get("ctx", {}).get("error")
        if isinstance(reason, UsageError):
            raise reason from None
        raise UsageError(f"{'.'.join(map(str, first['loc']))}={first['input']!r}: {first['msg']}") from None


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
        prompt: Whose words open an episode: the row's own messages, the protocol's, or ``auto``: the row's where it has
            a system prompt.
        prompt_template: Other words than the protocol's: a YAML file, whose parts are recorded, or its parts by name.
        max_turns: Maximum turns of an episode: messages that the policy may write.
        min_pixels: Minimum number of pixels at which an image of a data file is shown; at least the model's own.
        max_pixels: Maximum number of pixels at which an image of a data file is shown; at most the model's own.
        image_memory: Megabytes of decoded images that each process keeps; give it what a batch of questions needs.
    """

    toolbox: str = "VisualToolbox-v2"
    rubric: str = "auto"
    prompt: PromptSource = "auto"
    prompt_template: dict[str, str] | None = None
    max_turns: int = Field(default=3, ge=1)
    min_pixels: int = Field(default=ViewBudget().min_pixels, ge=_LEAST_VIEW)
    max_pixels: int = Field(default=ViewBudget().max_pixels, ge=_LEAST_VIEW)
    image_memory: int = Field(default=128, ge=0)

    @field_validator("prompt_template", mode="before")
    @classmethod
    def _read(cls, template: Any) -> dict[str, str] | None:
        try:
            return None if template is None else get_prompt_template(template).parts()
        except DataError as error:
            raise UsageError(f"env.prompt_template: {error}") from error


class RolloutSettings(Section):
    """How episodes are played.

    Attributes:
        prompts: Questions in a step.
        group_size: Episodes of each question.
        temperature: Sampling temperature.
        max_new_tokens: Maximum new tokens of one message.
        max_episode_tokens: Budget of an episode in tokens, prompt and images included; by default, and at most, the
            model's context. An episode ends (``token_budget``) where another message might not fit.
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
    max_episode_tokens: int | None = Field(default=None, ge=1)
    backend: str = RAY
    actors: int | None = Field(default=None, ge=1)
    max_wait: float = Field(default=1.0, ge=0)
    dynamic_sampling: int = Field(default=0, ge=0)


class CreditSettings(Section):
    """Playing on from calls, to see what they were worth: for rubrics that ask, such as ``causal_tool``.

    Attributes:
        share: Share of the questions of a step whose episodes are played on from, all of a group alike; the calls of
            the others count as worth nothing. 0: never.
        plays: Pairs of episodes from each call, with its result as it was and changed.
        change: How its result is changed: ``blank``, ``swapped``, ``moved``, or ``dropped`` with the call.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    plays: int = Field(default=4, ge=1, le=64)
    change: Literal["blank", "swapped", "moved", "dropped"] = "blank"


class WeightsSettings(Section):
    """Which weights are trained.

    Attributes:
        lora_rank: Rank of LoRA adapters on the matrices of the language model's layers, by peft; everything else is
            frozen, in bfloat16 where that is computed in. 0: no adapters.
        lora_alpha: Adapters count this much divided by their rank.
        freeze_vision: Do not train the vision tower; with adapters it never is.
    """

    lora_rank: int = Field(default=0, ge=0)
    lora_alpha: float = Field(default=32.0, gt=0)
    freeze_vision: bool = False


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
        kl_estimator: How the divergence is estimated. In the loss ``k1`` is refused: its gradient is 0 on average.
        entropy_coefficient: Weight of the entropy bonus.
        value_coefficient: Weight of the value loss, for estimators with a value head.
        mask_truncated_completions: Overlong filter (DAPO): leave episodes that were cut at max new tokens, or ended by
            the token budget, out of the loss; their rewards still count in their group.
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
    kl_estimator: KLEstimator = "k3+"
    entropy_coefficient: float = Field(default=0.0, ge=0)
    value_coefficient: float = Field(default=0.5, ge=0)
    mask_truncated_completions: bool = False

    @field_validator("kl", mode="before")
    @classmethod
    def _off_is_no_boolean(cls, value: Any) -> Any:
        return "off" if value is False else value  # which is how YAML reads a bare off


class OptimSettings(Section):
    """The optimizer.

    Attributes:
        lr: Learning rate of AdamW.
        warmup: Steps of linear warm-up of the learning rate.
        schedule: How the learning rate goes on after warm-up: ``constant``, or down to 0 after the last step.
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
    schedule: Schedule = "constant"
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
        patience: Early stop: end the run after so many evaluations in a row without a better accuracy; 0: never.
        samples: How many questions.
        data: Data file to take them from; by default the last ones of the training data, which are not trained on.
        seed: Seed of the held-out scenes of the built-in task.
        temperature: Sampling temperature; 0 decodes greedily.
    """

    every: int = Field(default=20, ge=0)
    patience: int = Field(default=0, ge=0)
    samples: int = Field(default=128, ge=0)
    data: str | None = None
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    temperature: float = Field(default=1.0, ge=0)


class CheckpointSettings(Section):
    """When checkpoints are written.

    Attributes:
        every: Steps between checkpoints; the last step always has one. 0: only the last.
        keep: How many to keep.
        best: Also keep the model with the best held-out accuracy so far, in ``checkpoints/best``.
    """

    every: int = Field(default=20, ge=0)
    keep: int = Field(default=2, ge=1)
    best: bool = False


class LogSettings(Section):
    """Where metrics go besides ``metrics.jsonl`` and TensorBoard.

    Attributes:
        wandb: Name of a Weights & Biases project.
        rl_logging_board: Write every episode for RL Logging Board.
    """

    wandb: str | None = None
    rl_logging_board: bool = False
