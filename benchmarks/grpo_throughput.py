"""Rollouts and optimizer steps per second: our GRPO trainer against TRL's GRPOTrainer, and against itself without Ray.

    python benchmarks/grpo_throughput.py [--trl PYTHON] [--trained FOLDER] [--quick] [--out FILE]

Every trainer is a process of its own, and only one works at a time: a few steps each, round after round. All play the
tiny policy's task on the CPU: same model, questions, tool, rewards, group size, limits and algorithm. The learning rate
is close to zero, so that the episodes are alike from the first step to the last. Wall-clock time; medians of a
round, and the median of the rounds' ratios.

Ours takes one thread, which is its default, and two. TRL is measured in the interpreter given by ``--trl`` (by default
this one): with its default settings (two threads, passes of 8 episodes, bf16, gradient checkpointing, the stock image
processor), and tuned, with one thread and two, in backward passes of 16 and of 64 episodes. The best of each counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil

from benchmarks.env_step import Measurement
from benchmarks.pace import ROOT, Child, MeasuredStep, Settings
from deepeyes_env.trainers.tiny import BASE

RAY, RAY_2, IN_PROCESS, TRL = "ours, Ray", "ours, Ray, 2 threads", "ours, in process", "TRL"
TRL_DEFAULTS = f"{TRL}, default settings"
INSTALL = "pip install -c constraints.txt trl jmespath"


@dataclass
class Contestant:
    """A trainer in a process of its own.

    Attributes:
        name: What it is called in the table.
        command: What runs it.
        settings: Its settings.
        folder: The checkout that it is run from.
        rounds: The steps of each round.
        cpu: CPU seconds of a step in each round, of the process and all that it started.
        versions: Of the libraries that it uses.
    """

    name: str
    command: Sequence[str]
    settings: Settings
    folder: Path = ROOT
    rounds: list[list[MeasuredStep]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Contestant:
        threads = str(self.settings.threads)
        command = [*self.command, json.dumps(asdict(self.settings))]
        self._child = Child(command, self.folder, OMP_NUM_THREADS=threads, TRL_EXPERIMENTAL_SILENCE="1")
        self.versions = self._child.facts
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    def play(self, steps: int) -> None:
        """Let it take some steps."""
        before = self._cpu_seconds()
        self.rounds.append([MeasuredStep(**step) for step in self._child.ask(steps)["steps"]])
        self.cpu.append((self._cpu_seconds() - before) / (steps + 1))

    def medians(self, of: Callable[[MeasuredStep], float]) -> list[float]:
        """Return the median of something in each round."""
        return [statistics.median(map(of, steps)) for steps in self.rounds]

    def mean(self, name: str) -> float:
        """Return the mean of something over all steps."""
        return statistics.fmean(getattr(step, name) for steps in self.rounds for step in steps)

    def _cpu_seconds(self) -> float:
        process = psutil.Process(self._child.pid)
        return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def contestants(settings: Settings, trl: str | None, quick: bool) -> list[Contestant]:
    """Return those who take turns; of TRL all variants."""
    ours = [sys.executable, "-m", "benchmarks.grpo_child"]
    entered = [
        Contestant(RAY, ours, replace(settings, backend="ray")),
        Contestant(RAY_2, ours, replace(settings, backend="ray", threads=2)),
        Contestant(IN_PROCESS, ours, replace(settings, backend="threads")),
    ]
    if trl is not None:
        theirs = [trl, "-m", "benchmarks.trl_child"]
        entered.append(Contestant(TRL_DEFAULTS, theirs, replace(settings, threads=2, micro_batch=8, tuned=False)))
        for threads, micro_batch in [(1, 16)] if quick else [(1, 16), (1, 64), (2, 16), (2, 64)]:
            name = f"{TRL}, {threads} thread{'s' * (threads > 1)}, {micro_batch} a pass"
            entered.append(Contestant(name, theirs, replace(settings, threads=threads, micro_batch=micro_batch)))
    return entered


def measure(entered: Sequence[Contestant], rounds: int, steps: int) -> None:
    """Let them take turns."""
    with ExitStack() as stack:
        for contestant in entered:
            stack.enter_context(contestant)
        for _ in range(rounds):
            for contestant in entered:
                contestant.play(steps)


def rows(entered: Sequence[Contestant], policy: str) -> list[Measurement]:
    """Return the table for one policy."""
    by_name = {contestant.name: contestant for contestant in entered}
    table = []
    for each in entered:
        seconds = statistics.median(each.medians(lambda step: step.seconds))
        table.append(
            Measurement(f"{each.name}, {policy}", each.settings.episodes / seconds, "rollouts/s", None, _detail(each))
        )
    ours, inside = by_name[RAY], by_name[IN_PROCESS]
    number = ours.settings.episodes
    what = f"a step with {number} environments, Ray, {policy}"
    table.append(ratio(what, ours, inside, "x in process", "<= 1.25", lambda step: step.seconds))
    theirs = [each for each in entered if each.name.startswith(TRL)]
    if theirs:
        best, our_best = _fastest(theirs), _fastest([ours, by_name[RAY_2]])
        unit = f"x faster than {best.name}"
        what = f"rollouts and optimizer steps, {policy}, {our_best.name}"
        table += [
            ratio(what, best, our_best, unit, ">= 5", lambda step: step.seconds),
            ratio(f"the same in process, {policy}", best, inside, unit, None, lambda step: step.seconds),
            ratio(f"rollouts only, {policy}", best, our_best, unit, None, lambda step: step.play),
            ratio(f"policy updates only, {policy}", best, our_best, unit, None, lambda step: step.seconds - step.play),
        ]
        unit = f"x faster than {TRL_DEFAULTS}"
        table.append(ratio(what, by_name[TRL_DEFAULTS], our_best, unit, ">= 5", lambda step: step.seconds))
        alone = _fastest([each for each in theirs if each.settings.threads == 1])
        unit = f"x faster than {alone.name}"
        table.append(ratio(f"one thread each, {policy}", alone, ours, unit, None, lambda step: step.seconds))
    return table


def _fastest(entered: Sequence[Contestant]) -> Contestant:
    return min(entered, key=lambda each: statistics.median(each.medians(lambda step: step.seconds)))


def ratio(
    name: str, above: Contestant, below: Contestant, unit: str, limit: str | None, of: Callable[[MeasuredStep], float]
) -> Measurement:
    pairs = list(zip(above.medians(of), below.medians(of), strict=True))
    ratios = [a / b for a, b in pairs]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
    medians = [statistics.median(side) * 1e3 for side in zip(*pairs, strict=True)]
    return Measurement(
        name, statistics.median(ratios), unit, limit, f"{medians[0]:.0f} ms / {medians[1]:.0f} ms; {spread}"
    )


def _detail(each: Contestant) -> str:
    seconds, play = (statistics.median(each.medians(of)) for of in (lambda step: step.seconds, lambda step: step.play))
    return (
        f"{1 / seconds:.2f} steps/s; {seconds * 1e3:.0f} ms a step, {play * 1e3:.0f} of them rollouts; "
        f"{statistics.median(each.cpu) * 1e3:.0f} ms of CPU; an episode: {each.mean('messages'):.2f} turns, "
        f"{each.mean('tokens'):.1f} tokens, tool-use rate {each.mean('zooming'):.0%}, reward {each.mean('reward'):.2f}"
    )


def report(table: Sequence[Measurement], versions: Mapping[str, Any], settings: Mapping[str, Any], out: Path) -> None:
    """Print the table and write it as JSON."""
    width = max(len(row.name) for row in table)
    for row in table:
        limit = f"  target {row.limit}" if row.limit else ""
        print(f"{row.name:{width}}  {row.value:9.3f} {row.unit}{limit}  {row.detail}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "platform": platform.machine()}
    found = {"machine": machine, "versions": versions, "settings": settings, "rows": [asdict(row) for row in table]}
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_suffix(".tmp")
    draft.write_text(json.dumps(found, indent=1) + "\n")
    draft.replace(out)


def has_trl(python: str) -> bool:
    """Whether an interpreter has TRL; says what to do if it has not."""
    try:
        found = subprocess.run([python, "-c", "import trl, jmespath"], capture_output=True, check=False).returncode == 0
    except OSError:  # there is no such interpreter
        found = False
    if not found:
        print(f"{python} has no TRL, which is left out; to have it measured: {INSTALL}")
    return found


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", metavar="PYTHON", default=sys.executable, help="an interpreter with TRL 1.12")
    parser.add_argument("--trained", metavar="FOLDER", type=Path, help="a checkpoint, to measure that policy as well")
    parser.add_argument("--quick", action="store_true", help="one round, one variant of TRL")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "grpo_throughput.json")
    args = parser.parse_args()
    rounds, steps = (1, 4) if args.quick else (4, 8)
    policies = {"base policy": BASE} | ({"trained policy": args.trained.resolve()} if args.trained else {})
    trl = args.trl if has_trl(args.trl) else None
    table: list[Measurement] = []
    versions: dict[str, str] = {}
    settings: dict[str, Any] = {"rounds": rounds, "steps": steps}
    for policy, folder in policies.items():
        entered = contestants(Settings(str(folder)), trl, args.quick)
        measure(entered, rounds, steps)
        table += rows(entered, policy)
        for each in entered:
            versions |= each.versions
            settings[each.name] = {name: value for name, value in asdict(each.settings).items() if name != "model"}
    report(table, versions, settings, args.out)


if __name__ == "__main__":
    main()
