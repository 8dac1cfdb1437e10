"""Are decorative calls found? A scripted reader makes calls that matter, that are decorative, and that do harm.

    python benchmarks/planted_calls.py --episodes 170 --seeds 0 1 2

Each episode has two looks: one at the object that the question asks for, from whose crop the reader reads the answer,
and one where nothing of it is, before or after; or a third kind, one at another object that it believes. Every call is
then played on from, with its crop as it was and blank, and its verdict compared with what was planted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from deepeyes_env.agents import ReaderAgent, rollout
from deepeyes_env.agents.counterfactuals import play_credit
from deepeyes_env.agents.counterfactuals.credit import DEFAULT_PLAYS
from deepeyes_env.agents.evaluation import Scoring
from deepeyes_env.agents.reader import Look
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.judges import RuleJudge

ENV = "VisualToolbox-v2"
PLANTED: tuple[tuple[tuple[Look, Look], tuple[str, str]], ...] = (
    (("elsewhere", "true"), ("decorative", "mattered")),
    (("true", "elsewhere"), ("mattered", "decorative")),
    (("true", "other"), ("decorative", "harmful")),
)
"""Looks, and what each of them is: one that is believed last makes what was read before it decorative."""


def count(looks: tuple[Look, Look], planted: tuple[str, str], episodes: int, seed: int, k: int, change: str) -> Counter:
    """Plant calls in fresh scenes and return how often each kind got each verdict."""
    scenes = VisualSearch(
        tasks=("attribute",), easy=0, size=(672, 672), objects=(3, 5), length=episodes, seed=1000 + seed, split="test"
    )
    options = {"dataset": scenes, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        rollout(ENV, ReaderAgent(seed, looks=looks), episodes=episodes, in_order=True, seed=seed, out=out, **options)
        agent, scoring = ReaderAgent(seed, looks=looks), Scoring(RuleJudge(), "rules")
        effects = play_credit(out, agent, scoring, change=change, k=k, seed=seed, **options)
    return Counter((planted[each.call], each.verdict) for calls in effects.values() for each in calls)


def main() -> None:
    """Print how many planted calls of each kind were found, a line a seed, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=170, help="of each kind of episode and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plays", type=int, default=DEFAULT_PLAYS)
    parser.add_argument("--change", default="blank")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, total = [], Counter()
    for seed in options.seeds:
        began, found = time.perf_counter(), Counter()
        for looks, planted in PLANTED:
            found += count(looks, planted, options.episodes, seed, options.plays, options.change)
        total += found
        rows.append({"seed": seed, **summary(found), "seconds": round(time.perf_counter() - began)})
        print(json.dumps(rows[-1]), flush=True)
    rows.append({"seed": "all", **summary(total)})
    print(json.dumps(rows[-1]))
    if options.out:
        options.out.write_text(json.dumps({"plays": options.plays, "change": options.change, "rows": rows}, indent=2))


def summary(found: Counter) -> dict[str, object]:
    """Return, of each kind, how many were planted, and the shares that got each verdict."""
    kinds = ("mattered", "decorative", "harmful")
    planted = {kind: sum(found[kind, verdict] for verdict in kinds) for kind in kinds}
    others = planted["mattered"] + planted["harmful"]
    alarms = found["mattered", "decorative"] + found["harmful", "decorative"]
    return {
        "planted": planted,
        "found": {kind: round(found[kind, kind] / planted[kind], 4) for kind in kinds if planted[kind]},
        "false_alarms": round(alarms / others, 4) if others else None,
    }


if __name__ == "__main__":
    main()
