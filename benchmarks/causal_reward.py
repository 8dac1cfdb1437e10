"""Does ``causal_tool`` teach fewer decorative calls than the conditional bonus, at equal accuracy?

    python benchmarks/causal_reward.py --seeds 10 11 12 --runs runs/causal [--arms NAME ...] [--steps N] [--questions N]

Trains the shipped tiny policy under each reward; in two arms, a call costs 0.2 in the second half of the steps. Half of
the scenes can be read without a zoom, so that the conditional bonus pays for calls that nobody needed. Then each policy
plays fresh scenes, half of them easy, and every call is played on from, with its crop as it was and blank. What is
trained and measured already is not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import fmean

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from deepeyes_env.agents import rollout  # noqa: E402
from deepeyes_env.agents.counterfactuals import play_credit  # noqa: E402
from deepeyes_env.agents.evaluation import Scoring  # noqa: E402
from deepeyes_env.agents.transformers.agent import TransformersAgent  # noqa: E402
from deepeyes_env.agents.transformers.generator import Sampling  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.judges import RuleJudge  # noqa: E402
from deepeyes_env.rewards import Rubric, Term, register_rubric, terms  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trajectories import read_trajectories  # noqa: E402

ENV = "VisualToolbox-v2"
PRICE = 0.2
"""Of a call, in the second half of the steps of the arms with a price."""

SLOWER = "optim.lr=1.5e-4"
"""Of that half: at the usual rate, policies first ceased to zoom at all."""

CREDIT = ("credit.share=1", "credit.plays=2")
DEEPEYES, CAUSAL = ("env.rubric=deepeyes",), ("env.rubric=causal_tool", *CREDIT)
ARMS = {
    "deepeyes": (DEEPEYES,),
    "deepeyes, then a price": (DEEPEYES, ("env.rubric=deepeyes_price", SLOWER)),
    "causal_tool": (CAUSAL,),
    "causal_tool, then a price": (CAUSAL, ("env.rubric=causal_price", SLOWER, *CREDIT)),
}
"""The settings of the phases of each arm, which share its steps."""

BEFORE = "before training"
FIRST_FRESH = 700
"""Seed of the first fresh scenes, which no run was trained on or looked at."""


def register() -> None:
    """Make the rubrics with a price known."""
    for name, term in (("deepeyes_price", terms.tool_if_right), ("causal_price", terms.causal_tool)):
        kept = [Term("acc", terms.accuracy, 0.8), Term("format", terms.format_broken, 0.2), Term("tool", term, 1.2)]
        register_rubric(name, Rubric([*kept, Term("calls", terms.calls, -PRICE)]))


def trained(arm: str, seed: int, steps: int, folder: Path) -> Path:
    """Train one arm with one seed, or go on with it; returns the last policy."""
    model, phases = Path("tiny"), ARMS[arm]
    last = steps // len(phases)
    for number, phase in enumerate(phases):
        out = folder / f"phase_{number}"
        checkpoint = out / "checkpoints" / f"step_{last:06d}"
        if not checkpoint.exists():
            settings = (
                *phase, f"model={model}", f"seed={seed + 100 * number}", f"steps={last}", f"out={out}",
                "scenes.easy=0.5", "rollout.backend=threads", f"evaluation.seed={seed}", "optim.threads=1",
            )  # fmt: skip
            if run(load_config(settings, Path("tiny")), resume=out.exists(), live=False).interrupted:
                raise KeyboardInterrupt
        model = checkpoint
    return model


def measured(model: str | Path, seed: int, questions: int, played: int, plays: int, folder: Path) -> dict[str, object]:
    """Return the accuracy of a policy in fresh scenes, and what the calls of the first of them were worth."""
    scenes = pattern_search(split="test", length=questions, seed=FIRST_FRESH + seed, easy=0.5)

    def agent() -> TransformersAgent:
        return TransformersAgent(model, sampling=Sampling(1.0, 32), seed=seed, name="tiny")

    options = {"dataset": scenes, "view": scenes.view, "max_turns": 3, "num_envs": 64, "progress": False}
    player = agent()
    options["frame"] = player.frame
    rollout(ENV, player, episodes=questions, in_order=True, seed=seed, out=folder, if_exists="resume", **options)
    episodes = list(read_trajectories(folder))
    called = [each.metadata["episode"] for each in episodes if each.results]
    limit = sum(number < played for number in called)
    effects = {}
    if limit:
        scoring = Scoring(RuleJudge(), "rules")
        effects = play_credit(folder, agent(), scoring, k=plays, limit=limit, seed=seed, env=ENV, **options)
    found: dict[str, object] = {}
    for kind, easy in (("hard", False), ("easy", True)):
        mine = [each for each in episodes if bool(each.sample.metadata["easy"]) is easy]
        looked_at = [each for each in mine if each.metadata["episode"] < played]
        calls = [call for each in looked_at for call in effects.get(each.metadata["episode"], ())]
        found[kind] = {
            "episodes": len(mine),
            "right": sum(each.correct or 0 for each in mine),
            "with_call": sum(bool(each.results) for each in mine),
            "played": len(looked_at),
            "calls": len(calls),
            **Counter(call.verdict for call in calls),
            "mean_effect": round(fmean(call.effect for call in calls), 3) if calls else None,
        }
    return found


def main() -> None:
    """Train, measure, and print a line for each policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--arms", nargs="+", choices=[BEFORE, *ARMS], default=[BEFORE, *ARMS])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--questions", type=int, default=400, help="fresh scenes, for the accuracy")
    parser.add_argument("--played", type=int, default=160, help="the first of them, whose calls are played on from")
    parser.add_argument("--plays", type=int, default=16)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs, to go on from")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    register()
    for seed in args.seeds:
        for arm in args.arms:
            began = time.perf_counter()
            folder = args.runs / f"{arm.replace(',', '').replace(' ', '_')}_{seed}"
            model = BASE if arm == BEFORE else trained(arm, seed, args.steps, folder)
            taken, began = time.perf_counter() - began, time.perf_counter()
            played = args.runs / f"{folder.name}_played"
            found = measured(model, seed, args.questions, args.played, args.plays, played)
            told = {"arm": arm, "seed": seed, **found, "seconds": [round(taken), round(time.perf_counter() - began)]}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
