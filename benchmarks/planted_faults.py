"""Faults planted into questions, and how many of them the stages of a curation find.

    python -m benchmarks.planted_faults [--questions N] [--k K] [--seed S] [--out FILE]

Scenes of the built-in task: 5 % get a wrong label, 20 % can be answered without looking closer, 10 % have their box
elsewhere. The shipped tiny policy is asked k times without tools and with the region of the box shown, and is the
second model too. The second model of the last lines is simulated: it is wrong in 10 % of its answers, independently.
For each fault, the threshold of its label with the best F1, and what it finds.
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


def plant(count: int, seed: int) -> tuple[Scenes, list[str]]:
    """Return questions, and the fault of each; empty for none."""
    dice = random.Random(seed)
    faults = [name for name, share in SHARES.items() for _ in range(round(share * count))]
    faults += [""] * (count - len(faults))
    dice.shuffle(faults)
    hard, easy = (pattern_search(split="test", easy=share, seed=seed) for share in (0.0, 1.0))
    samples = Scenes()
    for row, fault in enumerate(faults):
        sample = (easy if fault == "blind" else hard)[row]
        if fault == "wrong label":
            others = [each for each in sample.options if each != sample.answer]
            sample = replace(sample, answer=dice.choice(others))
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


def labels_of(samples: Scenes, k: int, folder: Path) -> dict[str, dict[int, float]]:
    """Return the labels that the stages give, by name and row."""
    curation = Curation(folder, samples, {"open": False})
    label_format(samples, folder, progress=False)
    agent = TransformersAgent(
        str(BASE), sampling=Sampling(1.0, 48), seed=0, frame=None, device="cpu", dtype=torch.float32
    )
    asking = Asking(agent, Scoring(RuleJudge(), "rules"), k=k, num_envs=32, episodes=False, progress=False)
    label_answers(curation, asking)
    for stage in ("difficulty", "utility"):
        label_by_model(curation, stage, asking)
    found: dict[str, dict[int, float]] = {}
    for stage in ("label", "difficulty", "utility"):
        for each in read_labels(label_path(folder, stage)):
            for name, value in each.labels.items():
                found.setdefault(name, {})[each.row] = value
    return found


def best(scores: Mapping[int, float], bad: set[int]) -> dict[str, object]:
    """Return the threshold at or above which most faults and little else is found, and the whole curve."""
    curve = []
    for threshold in sorted(set(scores.values())):
        found = {row for row, score in scores.items() if score >= threshold}
        right = len(found & bad)
        precision, recall = right / len(found), right / len(bad)
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        curve.append({"threshold": threshold, "precision": precision, "recall": recall, "f1": f1})
    return {**max(curve, key=lambda each: each["f1"]), "curve": curve}


def _negative(scores: Mapping[int, float]) -> dict[int, float]:
    return {row: -score for row, score in scores.items()}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "planted_faults.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    samples, faults = plant(args.questions, args.seed)
    bad = {name: {row for row, fault in enumerate(faults) if fault == name} for name in SHARES}
    with tempfile.TemporaryDirectory() as folder:
        found = labels_of(samples, args.k, Path(folder))
    dice = random.Random(args.seed)
    wrong = bad["wrong label"]
    rows = range(len(faults))
    simulated = {row: float((row in wrong) == (dice.random() >= ERROR)) for row in rows}
    agreed = {
        row: sum(dice.random() < (ERROR / 3 if row in wrong else 1 - ERROR) for _ in range(args.k)) for row in rows
    }
    results = {
        "wrong label, by agreement": best(_negative(found["agreement"]), wrong),
        "wrong label, by label_ok": best(_negative(found["label_ok"]), wrong),
        "blind, by difficulty": best(found["difficulty"], bad["blind"]),
        "box elsewhere, by utility": best(_negative(found["utility"]), bad["box elsewhere"]),
        "wrong label, second model asked once (simulated)": best(simulated, wrong),
        f"wrong label, second model asked {args.k} x (simulated)": best(_negative(agreed), wrong),
    }
    for name, each in results.items():
        print(f"{name:52}  precision {each['precision']:.2f}  recall {each['recall']:.2f}  at {each['threshold']:g}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"settings": vars(args) | {"out": ""}, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
