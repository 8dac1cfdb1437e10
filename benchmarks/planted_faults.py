"""Faults planted into questions, and how many of them the stages of a curation find.

    python benchmarks/planted_faults.py [--questions N] [--k K] [--seeds S ...] [--runs FOLDER]
        [--plot PNG] [--out FILE]

Scenes of the built-in task: 5 % get a wrong label, 20 % can be answered without looking closer, 10 % have their box
elsewhere. The shipped tiny policy is asked k times without tools, with the region of the box shown, and with tools, and
is the second model too. The simulated second model is wrong in 10 % of its answers, at random; it is told the true
answer by this script. For each label: precision and recall at the threshold with the best F1, which only who knows the
faults can choose; of wrong labels also by the stage's own rule, which is ``label_ok``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from deepeyes_env import Sample  # noqa: E402
from deepeyes_env.agents.curation import (  # noqa: E402
    Asking,
    Curation,
    label_answers,
    label_by_model,
    label_format,
)
from deepeyes_env.agents.curation.label_file import label_path, read_labels  # noqa: E402
from deepeyes_env.agents.evaluation import Scoring  # noqa: E402
from deepeyes_env.agents.transformers.agent import TransformersAgent  # noqa: E402
from deepeyes_env.agents.transformers.generator import Sampling  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.judges import RuleJudge  # noqa: E402

SHARES = {"wrong label": 0.05, "blind": 0.2, "box elsewhere": 0.1}
ERROR = 0.1
BASE = ROOT / "trainers" / "tiny" / "base"


class Scenes(list[Sample]):
    """Samples, and the view in which they are shown: in it, what is small cannot be read."""

    view = pattern_search().view


def plant(count: int, seed: int, shares: Mapping[str, float] = SHARES) -> tuple[Scenes, list[str]]:
    """Return questions, and the fault of each; empty for none."""
    dice = random.Random(seed)
    faults = [name for name, share in shares.items() for _ in range(round(share * count))]
    faults += [""] * (count - len(faults))
    dice.shuffle(faults)
    hard, easy = (pattern_search(split="test", easy=share, seed=seed) for share in (0.0, 1.0))
    samples = Scenes()
    for row, fault in enumerate(faults):
        sample = (easy if fault == "blind" else hard)[row]
        if fault == "wrong label":
            others = [each for each in sample.options if each != sample.answer]
            metadata = {**sample.metadata, "planted_over": sample.answer}
            sample = replace(sample, answer=dice.choice(others), metadata=metadata)
        elif fault == "box elsewhere":
            sample = replace(sample, boxes=(_elsewhere(sample, dice),))
        samples.append(sample)
    return samples, faults


def _elsewhere(sample: Sample, dice: random.Random) -> tuple[float, float, float, float]:
    """Return a box of the same size that does not touch the true one."""
    (x1, y1, x2, y2), (width, height) = sample.boxes[0], sample.images[0].size
    while True:
        x, y = dice.uniform(0, width - (x2 - x1)), dice.uniform(0, height - (y2 - y1))
        if x + (x2 - x1) < x1 or x > x2 or y + (y2 - y1) < y1 or y > y2:
            return (x, y, x + x2 - x1, y + y2 - y1)


def curated(samples: Scenes, k: int, folder: Path, stages: tuple[str, ...]) -> Curation:
    """Return a curation of questions, labelled by the shipped tiny policy."""
    curation = Curation(folder, samples, {"open": False, "data": ""})
    label_format(samples, folder, progress=False)
    agent = TransformersAgent(
        str(BASE), sampling=Sampling(1.0, 48), seed=0, frame=None, device="cpu", dtype=torch.float32
    )
    asking = Asking(agent, Scoring(RuleJudge(), "rules"), k=k, num_envs=64, episodes=False, progress=False)
    label_answers(curation, asking)
    for stage in stages:
        label_by_model(curation, stage, asking)
    return curation


def labels_of(samples: Scenes, k: int, folder: Path, stages: tuple[str, ...]) -> dict[str, dict[int, float]]:
    """Return the labels that the stages give, by name and row."""
    curated(samples, k, folder, stages)
    found: dict[str, dict[int, float]] = {}
    for stage in ("label", *stages):
        for each in read_labels(label_path(folder, stage)):
            for name, value in each.labels.items():
                found.setdefault(name, {})[each.row] = value
    return found


def simulated(samples: Scenes, faults: list[str], k: int, seed: int) -> dict[int, float]:
    """Return the share of the label among the answers of a model that is wrong in 10 % of them, at random."""
    dice = random.Random(seed)
    shares = {}
    for row, (sample, fault) in enumerate(zip(samples, faults, strict=True)):
        true = sample.answer
        if fault == "wrong label":  # this script knows which answer was there before
            true = str(sample.metadata["planted_over"])
        others = [each for each in sample.options if each != true]
        said = [true if dice.random() >= ERROR else dice.choice(others) for _ in range(k)]
        shares[row] = said.count(sample.answer) / k
    return shares


def curve_of(scores: Mapping[int, float], bad: set[int]) -> list[dict[str, float]]:
    """Return precision and recall at each threshold."""
    curve = []
    for threshold in sorted(set(scores.values())):
        found = {row for row, score in scores.items() if score >= threshold}
        right = len(found & bad)
        curve.append({"threshold": threshold, "precision": right / len(found), "recall": right / len(bad)})
    return curve


def at(found: set[int], bad: set[int]) -> dict[str, float]:
    """Return precision and recall of what a rule finds."""
    right = len(found & bad)
    return {"precision": right / len(found) if found else 1.0, "recall": right / len(bad)}


def best(curve: list[dict[str, float]]) -> dict[str, float]:
    """Return the point with the highest F1."""
    return max(
        curve, key=lambda each: each["precision"] * each["recall"] / max(each["precision"] + each["recall"], 1e-9)
    )


def _negative(scores: Mapping[int, float]) -> dict[int, float]:
    return {row: -score for row, score in scores.items()}


def results_of(found: dict[str, dict[int, float]], bad: Mapping[str, set[int]]) -> dict[str, object]:
    """Return what each label finds of its fault: by the stage's own rule, where it has one, and as a curve."""
    results: dict[str, object] = {}
    for name, fault, scores in (
        ("agreement", "wrong label", _negative(found["agreement"])),
        ("simulated, asked once", "wrong label", _negative(found["once"])),
        ("simulated, asked k times", "wrong label", _negative(found["often"])),
        ("utility", "box elsewhere", _negative(found.get("utility", {}))),
        ("agreement with the region", "box elsewhere", _negative(found["agreement"])),
        ("difficulty", "blind", found.get("difficulty", {})),
        ("unaided", "blind", found.get("unaided", {})),
    ):
        if not scores:
            continue
        curve = curve_of(scores, bad[fault])
        rule = None
        if name == "agreement":
            rule = at({row for row, ok in found["label_ok"].items() if not ok}, bad[fault])
        results[name] = {"fault": fault, "rule": rule, "best": best(curve), "curve": curve}
    return results


def plot(results: Mapping[int, Mapping[str, dict]], out: Path) -> None:
    """Draw the curves of precision against recall, a panel a fault."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, fault in zip(figure.subplots(1, 3), SHARES, strict=True):
        names = dict.fromkeys(name for each in results.values() for name in each if each[name]["fault"] == fault)
        for colour, name in enumerate(names):
            for first, each in enumerate(result for result in results.values() if name in result):
                points = each[name]["curve"]
                axes.plot(
                    [point["recall"] for point in points],
                    [point["precision"] for point in points],
                    color=f"C{colour}",
                    label=None if first else name,
                )
        axes.set(title=fault, xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)  # curves fill the panels
    figure.savefig(out, dpi=100)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--stages", nargs="+", default=["difficulty", "utility", "gain"])
    parser.add_argument("--runs", type=Path, help="folder that keeps the answers, to go on from")
    parser.add_argument("--plot", type=Path, help="a PNG file")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "planted_faults.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in args.seeds:
            samples, faults = plant(args.questions, seed)
            bad = {name: {row for row, fault in enumerate(faults) if fault == name} for name in SHARES}
            found = labels_of(samples, args.k, Path(args.runs or temporary) / str(seed), tuple(args.stages))
            found["once"] = simulated(samples, faults, 1, seed)
            found["often"] = simulated(samples, faults, args.k, seed)
            results[seed] = results_of(found, bad)
            for name, each in results[seed].items():
                told = " ".join(
                    f"{way} {point['precision']:.2f} {point['recall']:.2f}"
                    for way in ("rule", "best")
                    if (point := each[way])
                )
                print(f"seed {seed}  {each['fault']:14} {name:26} {told}", flush=True)
    if args.plot:
        plot(results, args.plot)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"questions": args.questions, "k": args.k, "seeds": args.seeds, "stages": args.stages}
    args.out.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
