"""Does the tiny policy learn faster or better from what ``deepeyes`` keeps than from as many random questions?

    python benchmarks/curated_learning.py --seeds 0 1 2 --runs runs/learning --plot curated_learning.png

A pool of scenes of the built-in task: 25 % have a wrong label, 25 % can be read without a zoom, 10 % have their box
elsewhere. The shipped tiny policy labels it; kept is what the preset ``deepeyes`` keeps, but for ``open``, which is 0
for all of these. The policy is then trained on the kept questions, and on as many that are drawn from the whole pool,
with the same seed and the same held-out scenes. What is labelled and trained already is not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.planted_faults import curated, plant  # noqa: E402
from deepeyes_env import Sample  # noqa: E402
from deepeyes_env.agents.curation import parse_keep, write_kept  # noqa: E402
from deepeyes_env.agents.curation.kept import PRESETS  # noqa: E402
from deepeyes_env.data import write  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.run import METRICS, run  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from deepeyes_env.trainers.tracking.curves import plot_bands  # noqa: E402
from deepeyes_env.trainers.tracking.names import BY_DIFFICULTY, HELD_OUT  # noqa: E402

SHARES = {"wrong label": 0.25, "blind": 0.25, "box elsewhere": 0.1}
KEEP = PRESETS["deepeyes"].replace("open and ", "")
ARMS = ("kept", "random")
FIRST_POOL, FIRST_HELD_OUT = 60, 90
"""Seeds of the first pool and of the first held-out scenes."""


def prepared(seed: int, count: int, k: int, held_out: int, folder: Path) -> dict[str, object]:
    """Write the kept questions, as many random ones, and held-out scenes; returns what was kept of what."""
    told = folder / "pool.json"
    if not told.exists():
        samples, faults = plant(count, FIRST_POOL + seed, SHARES)
        curation = curated(samples, k, folder / "curation", ("difficulty", "utility"))
        kept = write_kept(curation, parse_keep(KEEP), folder / "kept.jsonl").rows
        drawn = sorted(random.Random(seed).sample(range(count), len(kept)))
        write((samples[row] for row in drawn), folder / "random.jsonl")
        scenes: Sequence[Sample] = list(pattern_search("test", length=held_out, seed=FIRST_HELD_OUT + seed))
        write(scenes, folder / "held_out.jsonl")
        counts = {
            name: Counter(faults[row] or "none" for row in rows)
            for name, rows in (("pool", range(count)), ("kept", kept), ("random", drawn))
        }
        told.write_text(json.dumps(counts) + "\n")
    found: dict[str, object] = json.loads(told.read_text())
    return found


def trained(arm: str, seed: int, steps: int, folder: Path) -> Path:
    """Train on the questions of an arm, or go on; returns the file of metrics."""
    out, side = folder / arm, pattern_search().view
    if not (out / "checkpoints" / f"step_{steps:06d}").exists():
        settings = (
            f"data={folder / f'{arm}.jsonl'}", f"evaluation.data={folder / 'held_out.jsonl'}", f"out={out}",
            f"seed={seed}", f"steps={steps}", f"env.min_pixels={side.min_pixels}", f"env.max_pixels={side.max_pixels}",
            "evaluation.every=10", "evaluation.samples=256", "rollout.backend=threads", "optim.threads=1",
        )  # fmt: skip
        if run(load_config(settings), resume=out.exists(), live=False).interrupted:
            raise KeyboardInterrupt
    return out / METRICS


def main() -> None:
    """Label, train, print the held-out metrics of each evaluation, and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--questions", type=int, default=640, help="in a pool")
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--held-out", type=int, default=192)
    parser.add_argument("--runs", type=Path, required=True, help="folder of everything, to go on from")
    parser.add_argument("--plot", type=Path, help="a PNG file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    done: dict[str, list[Path]] = {}
    for seed in args.seeds:
        folder = args.runs / f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        told = prepared(seed, args.questions, args.k, args.held_out, folder)
        print(json.dumps({"seed": seed, **told}), flush=True)
        for arm in ARMS:
            metrics = trained(arm, seed, args.steps, folder)
            done.setdefault(arm, []).append(metrics)
            for row in read_metrics(metrics):
                found = {name: round(row[key], 3) for name in BY_DIFFICULTY if (key := f"{HELD_OUT}{name}") in row}
                if found:
                    print(json.dumps({"seed": seed, "arm": arm, "step": row["step"], **found}), flush=True)
    if args.plot:
        plot_bands({f"{arm} questions": paths for arm, paths in done.items()}, args.plot)


if __name__ == "__main__":
    main()
