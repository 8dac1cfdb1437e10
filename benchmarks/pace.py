"""Pacing of a trainer in a child process: it takes steps when the parent asks, so that several trainers can take turns.

The parent writes how many steps to take, one number a line; the child answers each line with a line of JSON. One more
warm-up step is taken before them and not counted: it meets cold caches, and questions drawn in the pause.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """What all trainers are given alike.

    Attributes:
        model: Folder of the model.
        prompts: Questions in a step.
        group_size: Episodes of each.
        max_turns: Maximum turns of an episode.
        max_new_tokens: Maximum new tokens of one message.
        threads: Threads of torch.
        lr: Learning rate; so small that the policy stays what it is, and all play alike from first to last.
        backend: Where our own trainer's environments live: ``ray`` or ``threads``.
        micro_batch: Episodes in one backward pass of TRL.
        tuned: Switch off what TRL switches on by itself and what costs time here: bf16 and gradient checkpointing.
    """

    model: str
    prompts: int = 8
    group_size: int = 8
    max_turns: int = 3
    max_new_tokens: int = 32
    threads: int = 1
    lr: float = 1e-9
    backend: str = "ray"
    micro_batch: int = 64
    tuned: bool = True

    @property
    def episodes(self) -> int:
        """Episodes in a step."""
        return self.prompts * self.group_size


@dataclass(frozen=True)
class MeasuredStep:
    """One optimizer step and the episodes that it was taken on.

    Attributes:
        seconds: Wall-clock time of all of it.
        play: Time of the rollouts; what was prepared during the step before does not count.
        tokens: Tokens that the policy wrote in an episode, on average.
        messages: Messages in an episode.
        zooming: Tool-use rate: share of episodes that zoomed.
        accuracy: Share of right answers.
        reward: Mean reward.
    """

    seconds: float
    play: float
    tokens: float
    messages: float
    zooming: float
    accuracy: float
    reward: float


class Pace:
    """The child's side. What else is written to standard output goes to standard error from now on."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._steps: list[MeasuredStep] = []
        self._wanted = 0
        self._began = 0.0

    def ready(self, facts: Mapping[str, object]) -> bool:
        """Say what this process runs, and wait; returns whether to go on."""
        return self._answer(facts)

    def ended(self, play: float, metrics: Mapping[str, float]) -> bool:
        """Take note of a step, and wait if it was the last that was asked for.

        Args:
            play: Seconds of playing the episodes.
            metrics: What ``deepeyes_env.trainers.grpo.metrics.rollout_metrics`` says of them.

        Returns:
            Whether to go on.
        """
        seconds = time.perf_counter() - self._began
        names = ("response/tokens", "response/turns", "tool/rate", "accuracy", "reward/total")
        self._steps.append(MeasuredStep(seconds, play, *(metrics[name] for name in names)))
        if len(self._steps) <= self._wanted:
            self._began = time.perf_counter()
            return True
        return self._answer({"steps": [asdict(step) for step in self._steps[1:]]})

    def _answer(self, answer: Mapping[str, object]) -> bool:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
        line = sys.stdin.readline()
        self._steps = []
        self._wanted = int(line or 0)
        self._began = time.perf_counter()
        return bool(line)
