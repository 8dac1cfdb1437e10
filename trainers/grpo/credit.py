"""Credit: what the calls of some of a step's episodes were worth, played before they are learned from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from deepeyes_env.agents.agent import Agent
from deepeyes_env.agents.counterfactuals.calls import CallPlan
from deepeyes_env.agents.counterfactuals.credit import effects_of
from deepeyes_env.agents.counterfactuals.outcomes import Outcome
from deepeyes_env.agents.evaluation.score_file import Score
from deepeyes_env.agents.play import Failure, play
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.call_effects import CallEffect, with_call_effects
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.vector import BatchedVectorEnv
from deepeyes_env.rewards import BaseRubric
from deepeyes_env.trainers.grpo.rollouts import PlayedEpisode
from deepeyes_env.trainers.grpo.sections import CreditSettings


@dataclass(frozen=True)
class Credit:
    """Plays on from the calls of a share of a step's questions, and scores their episodes again.

    Attributes:
        env: Where they are played; it judges.
        agent: The policy, sampling as it does in training.
        rubric: Scores the episodes with what their calls were worth.
        settings: Which are played, and how.
        seed: Seed of the run.
    """

    env: BatchedVectorEnv
    agent: Agent
    rubric: BaseRubric
    settings: CreditSettings
    seed: int

    def of(self, played: Sequence[PlayedEpisode]) -> tuple[list[PlayedEpisode], dict[str, float]]:
        """Return episodes with the effects of their calls where those were played, and metrics of it."""
        began = time.perf_counter()
        chosen = self._chosen(played)
        labelled = {
            number: _labelled(each.finished, number, each.spec.seed)
            for number, each in enumerate(played)
            if each.finished is not None and each.spec.group in chosen
        }
        effects = self._effects(labelled)
        credited = [
            self._credited(each, effects.get(number, ())) if number in labelled else each
            for number, each in enumerate(played)
        ]
        metrics = _metrics([effect for calls in effects.values() for effect in calls])
        return credited, {**metrics, "time/credit": time.perf_counter() - began}

    def _chosen(self, played: Sequence[PlayedEpisode]) -> frozenset[int]:
        """Return the groups that are played on from: whole ones, since episodes of a group are compared."""
        groups = sorted({each.spec.group for each in played})
        drawn = (np.random.default_rng((self.seed, _CREDIT, group)).random() for group in groups)
        return frozenset(group for group, x in zip(groups, drawn, strict=True) if x < self.settings.share)

    def _effects(self, labelled: dict[int, Trajectory]) -> dict[int, list[CallEffect]]:
        change = self.settings.change
        plan = CallPlan(labelled.values, ("as_was", change), self.settings.plays, seed=self.seed)
        asked = list(plan)
        ended = play(self.env, self.agent, plan.episodes(asked)) if asked else ()
        outcomes = (
            Outcome.of(plan.asked(number_of(end)), end, Score(number_of(end), end.correct))
            for end in ended
            if not isinstance(end, Failure)
        )
        return effects_of(outcomes, change)

    def _credited(self, each: PlayedEpisode, effects: Sequence[CallEffect]) -> PlayedEpisode:
        assert each.trajectory is not None
        return replace(each, trajectory=self.rubric.score(with_call_effects(each.trajectory, effects)))


_CREDIT = 3
"""Tells these draws from the others of a run (``questions``)."""


def _labelled(trajectory: Trajectory, number: int, seed: int) -> Trajectory:
    return replace(trajectory, metadata={**trajectory.metadata, "episode": number, "seed": seed})


def _metrics(effects: Sequence[CallEffect]) -> dict[str, float]:
    if not effects:
        return {"credit/calls": 0.0}
    return {
        "credit/calls": float(len(effects)),
        "credit/effect": fmean(each.effect for each in effects),
        "credit/without_effect": fmean(float(each.effect == 0) for each in effects),
    }
