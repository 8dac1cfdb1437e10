"""Work in child processes that is done when the parent asks, so that several can take turns.

The parent writes a line of JSON, the child answers with another. Of a trainer the parent wants so many steps; one more
warm-up step is taken before them and not counted: it meets cold caches, and questions drawn in the pause.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


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


class Child:
    """The parent's side: a process that answers each line of JSON with a JSON object in a line.

    Attributes:
        facts: What it said of itself at the beginning.
        pid: Its number.

    Args:
        command: What runs it.
        folder: The checkout that it works in.
        path: Folders of further modules.
        **variables: Variables beside this process's.
    """

    def __init__(self, command: Sequence[str], folder: Path = ROOT, path: Sequence[str] = (), **variables: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        given = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join([str(folder), *path])}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env={**os.environ, **given, **variables},
        )
        self.pid = self._process.pid
        self._name = " ".join(command)[:200]
        self.facts = self._answer()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its standard input, which ends it
        self._log.close()

    def ask(self, request: Any) -> Any:
        """Send a request; returns the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"'):  # libraries print too
                return json.loads(line)
        self._log.seek(0)
        raise RuntimeError(f"{self._name} ended early:\n{self._log.read()[-3000:]}")


class Pace:
    """A trainer's side. What else is written to standard output goes to standard error from now on."""

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


def serve(facts: Mapping[str, Any], answer: Callable[[Any], Mapping[str, Any]]) -> None:
    """Say what this process is, then answer requests until the parent hangs up; other output goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    said = facts
    while True:
        answers.write(json.dumps(dict(said)) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        said = answer(json.loads(line))


def cpu_ms(call: Callable[[], object]) -> float:
    """Return the CPU milliseconds of a call, all threads of this process."""
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1e3
