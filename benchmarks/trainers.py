"""Our environments inside other trainers, and our own trainer beside others and beside itself as it was.

    python benchmarks/trainers.py [--model DIR] [--verl PYTHON] [--verl-0.7 PYTHON] [--trl PYTHON]
        [--trained CHECKPOINT] [--before FOLDER] [--quick] [--out FILE]

What has no interpreter is left out:

- ``--verl``, ``--verl-0.7``: our agent loop in verl 0.9 against ``ToolAgentLoop`` of verl 0.7.1 with its own zoom tool
  (``pip install torch==2.13.0; pip install verl==0.7.1 qwen-vl-utils cachetools 'numpy<2' 'pyarrow<22'``, then
  ``pip install --no-deps torchvision==0.28.0``), and against the bare environment.
- ``--trl``: what stands between TRL and an environment, and our trainer against TRL's.
- ``--before``: our trainer against an earlier commit's, checked out in that folder, by ``--before-python``.

Agent loops and adapters are measured in CPU time of the client's process, on a 4K image with crops of a megapixel, with
a policy that writes what it is told; ``--model`` is the folder of a Qwen2.5-VL, whose tokenizer and processor are read.
Trainers are measured in wall-clock time, as ``grpo_throughput.py`` does. All take turns, round after round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.env_step import Measurement
from benchmarks.grpo_throughput import IN_PROCESS, RAY, Contestant, contestants, has_trl, measure, ratio, report, rows
from benchmarks.pace import ROOT, Child, Settings
from benchmarks.scripted import OPTIONS, QUESTION
from benchmarks.sources import SIZES, jpeg, noisy_photo
from deepeyes_env.trainers.tiny import BASE

CALLS = 3
TURNS = CALLS + 1
SHIM = str(ROOT / "tests" / "servers" / "site")
"""Lets torchvision be imported beside a CPU build of torch."""


def write_question(folder: Path) -> tuple[Path, Path]:
    """Write a 4K photograph and a data set with one question about it; returns both files, the data set first."""
    image, source = folder / "scene.jpg", folder / "question.jsonl"
    image.write_bytes(jpeg(noisy_photo(SIZES["4K"])))
    row = {"id": "scene", "question": QUESTION, "answer": OPTIONS[0], "options": OPTIONS, "images": [str(image)]}
    source.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return source, image


def turn_about(asked: Mapping[str, tuple[Child, dict[str, Any]]], rounds: int) -> dict[str, list[float]]:
    """Ask all children in each round; returns their answers, without those of a round that warms up."""
    seen: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(rounds + 1):
        for name, (child, request) in asked.items():
            found = child.ask({**request, "seed": 1000 * number})
            if number:
                seen[name].append(found["ms"])
    return seen


def spread(values: list[float]) -> str:
    """Say between what some values lie."""
    return f"{min(values):.2f} to {max(values):.2f} in {len(values)} rounds"


def loop_rows(verl: str, older: str | None, model: str, rounds: int, rollouts: int) -> Iterator[Measurement]:
    """Yield what a tool call costs in agent loops of verl, and what ours adds to the environment."""
    with ExitStack() as stack:
        source, image = write_question(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        arguments = (model, str(source), str(image))
        command = ["-m", "benchmarks.verl_loop_child"]
        ours = stack.enter_context(Child([verl, *command, "ours", *arguments], path=[SHIM]))
        asked = {
            "ours": (ours, {"way": "loop", "calls": CALLS, "rollouts": rollouts}),
            "ours, no call": (ours, {"way": "loop", "calls": 0, "rollouts": rollouts}),
            "alone": (ours, {"way": "alone", "calls": CALLS, "rollouts": rollouts}),
        }
        if older is not None:
            theirs = stack.enter_context(Child([older, *command, "verl", *arguments], path=[SHIM]))
            asked["verl"] = (theirs, {"way": "loop", "calls": CALLS, "rollouts": max(1, rollouts // 16)})
            asked["verl, no call"] = (theirs, {"way": "loop", "calls": 0, "rollouts": max(1, rollouts // 16)})
        seen = turn_about(asked, rounds)
    added = [(loop - alone) / TURNS for loop, alone in zip(seen["ours"], seen["alone"], strict=True)]
    name = f"verl {ours.facts['verl']}: our agent loop beyond environment and model"
    yield Measurement(name, statistics.median(added), "ms of CPU a turn", "< 2", spread(added))
    if older is None:
        return
    calls = {
        name: [(full - none) / CALLS for full, none in zip(seen[name], seen[f"{name}, no call"], strict=True)]
        for name in ("ours", "verl")
    }
    what = f"verl {theirs.facts['verl']}'s ToolAgentLoop and zoom tool"
    for title, ours_ms, theirs_ms in (
        ("a tool call of a rollout on 4K", calls["ours"], calls["verl"]),
        (f"a rollout of {CALLS} tool calls on 4K", seen["ours"], seen["verl"]),
    ):
        ratios = [theirs / mine for mine, theirs in zip(ours_ms, theirs_ms, strict=True)]
        medians = f"{statistics.median(theirs_ms):.2f} ms / {statistics.median(ours_ms):.2f} ms; {spread(ratios)}"
        limit = ">= 20" if title.startswith("a tool call") else None
        yield Measurement(title, statistics.median(ratios), f"x less CPU than {what}", limit, medians)


def adapter_rows(trl: str, model: str, rounds: int, rollouts: int) -> Iterator[Measurement]:
    """Yield what stands between TRL and an environment."""
    with ExitStack() as stack:
        source, _ = write_question(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        child = stack.enter_context(
            Child([trl, "-m", "benchmarks.trl_adapter_child", model, str(source)], TRL_EXPERIMENTAL_SILENCE="1")
        )
        episode = {"calls": CALLS, "rollouts": rollouts}
        seen = turn_about({way: (child, {"way": way, **episode}) for way in ("factory", "alone")}, rounds)
        steps = [child.ask({"way": "rollouts", "steps": 2 * rounds}) for _ in range(2)][1]
    added = [(factory - alone) / TURNS for factory, alone in zip(seen["factory"], seen["alone"], strict=True)]
    name = f"TRL {child.facts['trl']}: environment_factory and reward beyond environment and model"
    yield Measurement(name, statistics.median(added), "ms of CPU a turn", "< 2", spread(added))
    detail = f"tiny policy; playing itself {steps['playing']:.2f} ms a turn"
    name = f"TRL {child.facts['trl']}: rollout_func beyond environment and model"
    yield Measurement(name, steps["adapter"], "ms of CPU a turn", "< 2", detail)


def trainers(policy: Path, args: argparse.Namespace, trl: str | None, temporary: Path) -> list[Contestant]:
    """Return those who take turns at training."""
    entered = contestants(Settings(str(policy)), trl, args.quick)
    if args.before is not None:
        # The tiny policy's tokenizer has one token for the whole prompt of its own commit; any other is spelled out.
        before = args.before.resolve()
        shutil.copytree(policy, temporary, dirs_exist_ok=True)
        shutil.copy(before / "trainers" / "tiny" / "base" / "tokenizer.json", temporary)
        command = [args.before_python, "-m", "benchmarks.grpo_child"]
        for each in (RAY, IN_PROCESS):
            own = next(one for one in entered if one.name == each)
            settings = replace(own.settings, model=str(temporary))
            entered.append(Contestant(f"before, {each}", command, settings, folder=before))
    return entered


def training_rows(args: argparse.Namespace, trl: str | None, rounds: int, steps: int) -> Iterator[Measurement]:
    """Yield what a step of training takes."""
    policies = {"base policy": BASE} | ({"trained policy": args.trained.resolve()} if args.trained else {})
    for policy, folder in policies.items():
        with tempfile.TemporaryDirectory() as temporary:
            entered = trainers(folder, args, trl, Path(temporary))
            measure(entered, rounds, steps)
        by_name = {each.name: each for each in entered}
        now = [each for each in entered if not each.name.startswith("before")]
        yield from rows(now, policy)
        if args.before is not None:
            for each in (RAY, IN_PROCESS):
                name = f"a step against {args.before.name}, {each}, {policy}"
                was = by_name[f"before, {each}"]
                yield ratio(name, was, by_name[each], "x as fast", ">= 0.95", lambda step: step.seconds)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="DIR", help="a Qwen2.5-VL directory, whose tokenizer and processor are read")
    parser.add_argument("--verl", metavar="PYTHON", help="an interpreter with verl 0.9")
    parser.add_argument("--verl-0.7", dest="older", metavar="PYTHON", help="an interpreter with verl 0.7.1")
    parser.add_argument("--trl", metavar="PYTHON", help="an interpreter with TRL 1.12")
    parser.add_argument("--trained", metavar="FOLDER", type=Path, help="a checkpoint, to measure that policy as well")
    parser.add_argument("--before", metavar="FOLDER", type=Path, help="an earlier commit, checked out")
    parser.add_argument("--before-python", metavar="PYTHON", default=sys.executable, help="what runs it")
    parser.add_argument("--only", choices=["loops", "adapters", "trainers"], help="one section")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "trainers.json")
    args = parser.parse_args()
    rounds, steps, rollouts = (1, 4, 16) if args.quick else (5, 6, 64)
    wanted = [args.only] if args.only else ["loops", "adapters", "trainers"]
    table: list[Measurement] = []
    if "loops" in wanted and args.verl and args.model:
        table += loop_rows(args.verl, args.older, args.model, rounds, rollouts)
    if "adapters" in wanted and args.trl and args.model:
        table += adapter_rows(args.trl, args.model, rounds, rollouts)
    if "trainers" in wanted and (args.trl or args.before):
        table += training_rows(args, args.trl if args.trl and has_trl(args.trl) else None, rounds, steps)
    report(table, {}, {"rounds": rounds, "steps": steps, "rollouts": rollouts, "load": os.getloadavg()}, args.out)


if __name__ == "__main__":
    main()
