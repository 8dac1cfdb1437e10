"""Causal credit: what each call of a recorded run was worth to the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.agents.agent import Agent, about_of, name_of
from deepeyes_env.agents.counterfactuals.calls import CallPlan
from deepeyes_env.agents.counterfactuals.changes import CHANGES
from deepeyes_env.agents.counterfactuals.cost import Cost
from deepeyes_env.agents.counterfactuals.engine import judged_in, run_plan
from deepeyes_env.agents.counterfactuals.outcomes import Outcome
from deepeyes_env.agents.evaluation.effects import effect_of, write_effects
from deepeyes_env.agents.evaluation.evaluate import known_frame
from deepeyes_env.agents.evaluation.scoring import Scoring
from deepeyes_env.agents.run_folder import CREDIT, RunFolder
from deepeyes_env.call_effects import CallEffect
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.prompt_files import recordable
from deepeyes_env.registry import unknown_name
from deepeyes_env.trajectories import read_trajectories

DEFAULT_PLAYS = 16
"""With so many pairs a call that lifts a guess between two options to certainty is missed once in a hundred times."""


def play_credit(
    run: str | Path,
    agent: Agent,
    scoring: Scoring,
    *,
    change: str = "blank",
    k: int = DEFAULT_PLAYS,
    limit: int | None = None,
    seed: int = 0,
    env: str = "VisualToolbox-v2",
    num_envs: int = 8,
    tell_cost: Callable[[Cost], object] | None = None,
    progress: bool = True,
    **env_kwargs: Any,
) -> dict[int, list[CallEffect]]:
    """Play on from every call of a recorded run, with its result as it was and changed; return what each was worth.

    What is played is recorded in the folder ``credit`` of the run, and resumed from there; ``effects.jsonl`` holds what
    came of it, for the report, the page and exports.

    Args:
        run: Folder of the run.
        agent: The policy that played it.
        scoring: Who judges.
        change: How results are changed; see ``changes.Change``.
        k: How many pairs of episodes are played from each call.
        limit: The first N episodes that have a call; ``None`` for all.
        seed: Seed of the agent's draws.
        env: Environment id of the run.
        num_envs: How many episodes run at once with an agent that is not asynchronous.
        tell_cost: Called with what this will cost, before anything is asked.
        progress: Show a progress bar where standard error is a terminal.
        **env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``, as the run had them.

    Returns:
        The effects of calls by the number of their episode.

    Raises:
        UsageError: An argument is wrong, or the episodes open otherwise than they did.
        DataError: There is no run, or its records cannot be read.
    """
    if change not in (changes := [each for each in CHANGES if each != "as_was"]):
        raise unknown_name("change", change, changes)
    folder = Path(run)

    def reread() -> Iterable[Trajectory]:
        return read_trajectories(folder)

    plan = CallPlan(reread, ("as_was", change), k, limit, seed)
    env_kwargs = recordable({**known_frame(agent), **env_kwargs})
    told = {name: env_kwargs[name] for name in sorted(env_kwargs) if name != "dataset"}
    identity = {"policy": name_of(agent), "env": env, **told, **scoring.description, "seed": seed}
    about = {**about_of(agent), "change": change, "k": k}
    prepared = RunFolder.prepare(folder / CREDIT, identity, "resume", judged_in, about)
    title = f"{name_of(agent)}: calls as they were and {change}"
    outcomes = run_plan(
        plan,
        prepared,
        agent,
        scoring,
        env,
        env_kwargs,
        title,
        num_envs=num_envs,
        tell_cost=tell_cost,
        progress=progress,
    )
    effects = effects_of(outcomes, change)
    write_effects(folder, effects)
    return effects


def effects_of(outcomes: Iterable[Outcome], change: str) -> dict[int, list[CallEffect]]:
    """Return what calls were worth, from the repeats that have a verdict both ways.

    Args:
        outcomes: What came of each episode.
        change: How results were changed.
    """
    right: defaultdict[tuple[int, int], dict[tuple[int, str], bool]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.right is not None:
            right[outcome.sample, outcome.call][outcome.repeat, outcome.condition] = outcome.right
    effects: defaultdict[int, list[CallEffect]] = defaultdict(list)
    for (episode, call), answers in sorted(right.items()):
        if pairs := list(_pairs(answers, change)):
            effects[episode].append(effect_of(call, pairs, change))
    return dict(effects)


def _pairs(answers: Mapping[tuple[int, str], bool], change: str) -> Iterator[tuple[bool, bool]]:
    for (repeat, condition), was in sorted(answers.items()):
        if condition == "as_was" and (repeat, change) in answers:
            yield was, answers[repeat, change]
