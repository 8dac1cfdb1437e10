"""Learner: from a batch of episodes to changed weights."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.trainers.algorithms import (
    AdvantageInputs,
    LossSettings,
    Totals,
    aggregate,
    get_advantage,
    get_policy_loss,
    kl_divergence,
    needs_values,
    value_loss,
)
from deepeyes_env.trainers.grpo.batch import Batch
from deepeyes_env.trainers.grpo.checkpoint import CheckpointMismatchError
from deepeyes_env.trainers.grpo.layout import layouts
from deepeyes_env.trainers.grpo.packing import Pack, microbatches, pack
from deepeyes_env.trainers.grpo.schedule import lr_factor
from deepeyes_env.trainers.grpo.scores import token_scores
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings


class NonFiniteError(DeepEyesError, RuntimeError):
    """A loss or gradient was not a finite number; the weights are as they were before."""


@dataclass(frozen=True, slots=True)
class _TokenScores:
    """What a forward pass gives for the policy tokens of some rows, ``(rows, width)`` each.

    Attributes:
        logprobs: Log-probabilities.
        entropy: Entropies of the distributions that they were sampled from.
        values: Of the value head; ``None`` without one.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class _Targets:
    """What the loss of a batch needs besides the policy, ``(B, width)`` each.

    Attributes:
        mask: The completion mask, without episodes that the overlong filter leaves out.
        advantages: Advantage of each token.
        returns: Targets of the value head.
        old: Scores by the policy before the first update; ``None`` where there is only one.
        reference: Log-probabilities of the reference policy.
    """

    mask: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    old: _TokenScores | None
    reference: torch.Tensor | None


class Learner:
    """Changes the weights of a policy.

    Log-probabilities are of the temperature that the episodes were sampled with. Where an optimizer step is the only
    one on its batch, the old log-probabilities are the new ones, held fixed: the ratio is exactly 1, and how the
    sampler rounds makes no difference.

    Attributes:
        policy: The policy.
        optimizer: AdamW over its weights and those of the value head.
        value_head: From hidden states to values, for estimators that need them; else ``None``.

    Args:
        policy: The policy.
        algorithm: What is optimised.
        optim: How.
        temperature: That of the sampling.
        reference: The policy that divergence is measured from, where it counts.
        longest: Most policy tokens that an episode can have (max turns x max new tokens), the constant of
            ``seq-mean-token-sum-norm``; by default those of the longest one in each batch.
        updates: Optimizer steps of the whole run, for schedules that end with it.
    """

    def __init__(
        self,
        policy: VisionPolicy,
        algorithm: AlgorithmSettings,
        optim: OptimSettings,
        temperature: float,
        reference: VisionPolicy | None = None,
        longest: int | None = None,
        updates: int = 0,
    ) -> None:
        self.policy = policy
        self._algorithm = algorithm
        self._optim = optim
        self._temperature = temperature
        self._reference = reference
        self._longest = longest
        self._updates = updates
        self._loss_settings = LossSettings(algorithm.clip_low, algorithm.clip_high, algorithm.dual_clip)
        self._steps = 0
        width = policy.model.config.text_config.hidden_size
        head = torch.nn.Linear(width, 1).to(policy.device) if needs_values(algorithm.advantage) else None
        self.value_head: torch.nn.Linear | None = head
        if self.value_head is not None:
            torch.nn.init.zeros_(self.value_head.weight)
            torch.nn.init.zeros_(self.value_head.bias)
        self.optimizer = torch.optim.AdamW(
            self._weights(), lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
        )
        if optim.gradient_checkpointing:
            policy.model.gradient_checkpointing_enable({"use_reentrant": False})

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides the model."""
        head = self.value_head.state_dict() if self.value_head is not None else None
        return {"optimizer": self.optimizer.state_dict(), "optimizer_steps": self._steps, "value_head": head}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned; settings of the optimizer stay as they are now.

        Raises:
            CheckpointMismatchError: One of the two learners has a value head, and the other has none.
        """
        if (state["value_head"] is None) != (self.value_head is None):
            other = "without" if state["value_head"] is None else "with"
            raise CheckpointMismatchError(
                f"algorithm.advantage={self._algorithm.advantage!r} does not fit the checkpoint, which was written by "
                f"an estimator {other} a value head; name that one, or begin a new run"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["betas"], group["weight_decay"] = self._optim.betas, self._optim.weight_decay
        self._steps = state["optimizer_steps"]
        if self.value_head is not None:
            self.value_head.load_state_dict(state["value_head"])

    def learn(self, batch: Batch, shuffle: np.random.Generator) -> dict[str, float]:
        """Take one or more optimizer steps on a batch.

        Args:
            batch: Finished episodes.
            shuffle: Decides which groups go into which minibatch.

        Returns:
            Metrics, with names that begin with ``learn/``: means over the optimizer steps.

        Raises:
            NonFiniteError: A loss or gradient is not a finite number.
        """
        self.policy.model.train()
        mask = batch.completion_mask().to(self.policy.device)
        once = self._optim.epochs * self._optim.minibatches == 1
        rescored = not once or self.value_head is not None or self._algorithm.kl == "reward"
        old = self._scored(self.policy, batch) if rescored else None
        reference = self._scored(self._reference, batch).logprobs if self._reference is not None else None
        advantages, returns = self._advantages(batch, mask, old, reference)
        filtered = self._filtered(batch)
        trained = mask if filtered is None else mask & ~filtered[:, None]
        targets = _Targets(trained, advantages, returns, old, reference)
        updates = [
            metrics
            for _ in range(self._optim.epochs)
            for rows in batch.minibatches(self._optim.minibatches, shuffle)
            if (metrics := self._update(batch, rows, targets))
        ]
        self.policy.model.eval()
        self.optimizer.zero_grad(set_to_none=True)  # which leaves their memory to the rollouts
        tokens = mask.sum().clamp(min=1)
        means = {f"learn/{name}": fmean(each[name] for each in updates) for name in (updates[0] if updates else ())}
        if self._algorithm.kl == "reward" and old is not None and reference is not None:
            divergence = kl_divergence(old.logprobs, reference, self._algorithm.kl_estimator)
            means["learn/kl"] = float((divergence * mask).sum() / tokens)
        if filtered is not None:
            means["learn/overlong"] = float(filtered.float().mean())
        return {**means, "learn/advantage_size": float(advantages.abs().sum() / tokens)}

    def _filtered(self, batch: Batch) -> torch.Tensor | None:
        """Return ``(B,)`` ``bool``: the episodes that the overlong filter leaves out; ``None`` without one."""
        if not self._algorithm.mask_truncated_completions or batch.overlong is None:
            return None
        return torch.from_numpy(batch.overlong).to(self.policy.device)

    # --- targets -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _advantages(
        self, batch: Batch, mask: torch.Tensor, old: _TokenScores | None, reference: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.policy.device
        rewards = torch.zeros(mask.shape, device=device)
        last = mask.sum(1) - 1
        rewards[torch.arange(len(batch), device=device), last] = torch.from_numpy(batch.rewards).to(device)
        algorithm = self._algorithm
        if algorithm.kl == "reward" and old is not None and reference is not None:
            rewards -= algorithm.kl_coefficient * kl_divergence(old.logprobs, reference, algorithm.kl_estimator) * mask
        inputs = AdvantageInputs(
            rewards,
            mask,
            torch.from_numpy(batch.groups).to(device),
            old.values if old is not None else None,
            torch.from_numpy(batch.baselines).to(device) if batch.baselines is not None else None,
            algorithm.gamma,
            algorithm.lam,
        )
        return get_advantage(algorithm.advantage)(inputs)

    @torch.no_grad()
    def _scored(self, policy: VisionPolicy, batch: Batch) -> _TokenScores:
        """Score a whole batch with the weights as they are; returns tables ``(B, width)``."""
        shape, device = (len(batch), batch.width), self.policy.device
        logprobs, entropy, values = (torch.zeros(shape, device=device) for _ in range(3))
        for micro in self._packed(batch, range(len(batch))):
            for part, scores in self._forward(policy, micro):
                width = scores.logprobs.shape[1]
                logprobs[part, :width] = scores.logprobs
                entropy[part, :width] = scores.entropy
                if scores.values is not None:
                    values[part, :width] = scores.values
        return _TokenScores(logprobs, entropy, values if self.value_head is not None else None)

    # --- one optimizer step --------------------------------------------------------------------------------------

    def _update(self, batch: Batch, rows: Sequence[int], targets: _Targets) -> dict[str, float]:
        """Take one optimizer step on some rows; returns its metrics: none if no row has a gradient."""
        began = time.perf_counter()
        useful = self._useful(targets, rows)
        if not useful:
            return {}
        totals = Totals.of(targets.mask[list(rows)], self._longest)
        metrics: defaultdict[str, float] = defaultdict(float)
        trained_tokens = int(targets.mask[useful].sum())
        self.optimizer.zero_grad(set_to_none=True)
        for micro in self._packed(batch, useful):
            loss = torch.zeros((), device=self.policy.device)
            for part, scores in self._forward(self.policy, micro):
                loss = loss + self._loss(part, scores, targets, totals, batch, metrics, trained_tokens)
            if not torch.isfinite(loss):
                raise NonFiniteError(f"the loss is {loss.item()}")
            loss.backward()
            metrics["loss"] += loss.item()
        norm = float(torch.nn.utils.clip_grad_norm_(self._weights(), self._optim.max_grad_norm))
        if not math.isfinite(norm):
            raise NonFiniteError(f"the gradient's norm is {norm}")
        self._steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self._optim.lr * lr_factor(
                self._optim.schedule, self._steps, self._optim.warmup, self._updates
            )
        self.optimizer.step()
        seconds = time.perf_counter() - began
        learned = sum(len(batch.sequences[row]) for row in useful)
        return {
            **metrics,
            "gradient_norm": norm,
            "lr": self.optimizer.param_groups[0]["lr"],
            "tokens_per_second": learned / seconds,
        }

    def _useful(self, targets: _Targets, rows: Sequence[int]) -> list[int]:
        """Return the rows with a gradient: one of advantage 0 has none, unless something else is optimised too."""
        algorithm, left = self._algorithm, targets.mask.any(1)
        if algorithm.kl == "loss" or algorithm.entropy_coefficient > 0 or self.value_head is not None:
            return [row for row in rows if left[row]]
        moving = ((targets.advantages != 0).any(1) & left).tolist()
        return [row for row in rows if moving[row]]

    def _loss(
        self,
        rows: Sequence[int],
        scores: _TokenScores,
        targets: _Targets,
        totals: Totals,
        batch: Batch,
        metrics: defaultdict[str, float],
        trained_tokens: int,
    ) -> torch.Tensor:
        """Return the share of some rows in the loss of a minibatch, and add up their metrics.

        Entropy and the metrics of the policy loss are means over the ``trained_tokens`` policy tokens that have a
        gradient, however losses are aggregated.
        """
        algorithm, width, chosen = self._algorithm, scores.logprobs.shape[1], list(rows)
        mask, advantages = targets.mask[chosen, :width], targets.advantages[chosen, :width]
        new = scores.logprobs
        old = targets.old.logprobs[chosen, :width] if targets.old is not None else new.detach()
        loss = get_policy_loss(algorithm.loss)(old, new, advantages, mask, self._loss_settings)
        mode = algorithm.aggregation
        total = aggregate(loss.per_token, mask, mode, totals)
        if algorithm.kl == "loss" and targets.reference is not None:
            divergence = kl_divergence(new, targets.reference[chosen, :width], algorithm.kl_estimator)
            kl = aggregate(divergence, mask, mode, totals)
            metrics["kl"] += kl.item()
            total = total + algorithm.kl_coefficient * kl
        if algorithm.entropy_coefficient:
            total = total - algorithm.entropy_coefficient * aggregate(scores.entropy, mask, mode, totals)
        if scores.values is not None and targets.old is not None and targets.old.values is not None:
            errors = value_loss(
                targets.old.values[chosen, :width], scores.values, targets.returns[chosen, :width], mask
            )
            of_values = aggregate(errors, mask, "token-mean", totals)
            metrics["value_loss"] += of_values.item()
            total = total + algorithm.value_coefficient * of_values
        share = float(mask.sum()) / trained_tokens
        for name, value in loss.metrics.items():
            metrics[name] += value * share
        metrics["entropy"] += float(scores.entropy[mask].detach().sum()) / trained_tokens
        gap = (old - batch.sampled_logprobs(rows, width).to(old.device))[mask].abs()
        metrics["logprob_gap"] = max(metrics["logprob_gap"], float(gap.max()))
        return total

    # --- forward pass --------------------------------------------------------------------------------------------

    def _packed(self, batch: Batch, rows: Sequence[int]) -> Iterator[list[Pack]]:
        """Divide rows into pieces that fit into memory."""
        most = self._optim.micro_batch_tokens
        return microbatches(pack(self.policy, {row: batch.sequences[row] for row in rows}, most), most)

    def _forward(self, policy: VisionPolicy, packs: Sequence[Pack]) -> Iterator[tuple[list[int], _TokenScores]]:
        """Run a policy on some episodes; an image that several of them show is encoded once.

        Yields:
            Numbers of some of them in the batch, and the scores of their policy tokens.
        """
        images = {id(image): image for each in packs for image in each.images}
        features = dict(zip(images, policy.image_features(list(images.values())), strict=True))
        for laid in layouts(policy, packs):
            hidden = policy.hidden(laid.ids, laid.positions, laid, [features[id(image)] for image in laid.images])
            ids = torch.cat([block.completion_ids.flatten() for block in laid.blocks])
            outputs = list(token_scores(policy, hidden, ids, self._temperature))
            if self.value_head is not None:
                outputs.append(self.value_head(hidden.float())[:, 0])
            sizes = [block.completion_ids.numel() for block in laid.blocks]
            for block, *parts in zip(laid.blocks, *(each.split(sizes) for each in outputs), strict=True):
                mask = block.completion_mask
                tables = [part.view_as(mask).masked_fill(~mask, 0.0) for part in parts]
                yield list(block.rows), _TokenScores(tables[0], tables[1], tables[2] if len(tables) > 2 else None)

    def _weights(self) -> list[torch.nn.Parameter]:
        head = list(self.value_head.parameters()) if self.value_head is not None else []
        return [*(weight for weight in self.policy.model.parameters() if weight.requires_grad), *head]
