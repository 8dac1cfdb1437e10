"""report: what there is to say about a rollout, as numbers that verl averages."""

from __future__ import annotations

from collections.abc import Sequence

from deepeyes_env.envs.toolbox import TOOLBOXES, get_toolbox
from deepeyes_env.rewards import BaseRubric, Rubric, RubricLike, get_rubric
from deepeyes_env.rewards.rubric import RoutedRubric
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.verl.episode import PlayedRollout

FAILED = "failed"
"""1 for a rollout whose environment failed."""

ACCURACY = "acc"
"""What verl calls an accuracy: it goes into its core metrics."""


def term_names(rubric: RubricLike | None, toolbox: str) -> tuple[str, ...]:
    """Return the names of all terms that a rollout's reward may have.

    Args:
        rubric: The rubric; ``auto`` stands for those of all toolboxes, any of which a row may name.
        toolbox: The toolbox of rows that name none.
    """
    if rubric is None:
        return ()
    rubrics = [rubric]
    if rubric == "auto":
        toolboxes = [get_toolbox(toolbox), *TOOLBOXES.values()]
        rubrics = [each.rubric for each in toolboxes if each.rubric is not None]
    return tuple(sorted({name for each in rubrics for name in _terms(get_rubric(each))}))


def _terms(rubric: BaseRubric) -> set[str]:
    if isinstance(rubric, Rubric):
        return {term.name for term in rubric.terms}
    if isinstance(rubric, RoutedRubric):
        return {name for each in (*rubric.routes.values(), rubric.default) for name in _terms(each)}
    return set()


def reward_extra_info(rollout: PlayedRollout, terms: Sequence[str]) -> dict[str, float]:
    """Return what verl averages over rollouts, by name; all rollouts have all names.

    ====================  =========================================================================================
    ``acc``               the judge's verdict, whatever the rubric
    ``reward/NAME``       share of each term, weight times raw
    ``tool/rate``         1 if a call returned an image; ``tool/calls``: calls; ``tool/failed``: calls that did not run
    ``zoom/rate``         1 if a box was looked at
    ``zoom/iou``          best overlap with the ground truth; 0 without either
    ``response/turns``    messages; ``response/policy_tokens``: tokens under the mask
    ``finish/length``     messages that were cut; ``vision_tokens``: those that were cut at a vision token
    ``stop/NAME``         1 for the reason why the episode ended
    ``failed``            1 if the environment failed: everything else is then 0, and the reward too
    ====================  =========================================================================================

    Args:
        rollout: The rollout.
        terms: Names of the terms.
    """
    report = dict.fromkeys((ACCURACY, *(f"{names.REWARD_TERM}{term}" for term in terms)), 0.0)
    report |= dict.fromkeys((names.TOOL_RATE, names.TOOL_CALLS, "tool/failed", names.ZOOM_RATE, names.ZOOM_IOU), 0.0)
    report |= dict.fromkeys(("response/turns", "response/policy_tokens", "finish/length"), 0.0)
    report |= {f"stop/{reason}": 0.0 for reason in names.STOP_REASONS}
    report |= {"vision_tokens": float(rollout.vision_tokens), FAILED: float(bool(rollout.error))}
    return report | _of_finished(rollout)


def _of_finished(rollout: PlayedRollout) -> dict[str, float]:
    finished = rollout.finished
    if finished is None:
        return {}
    shares = {f"{names.REWARD_TERM}{name}": term.weighted for name, term in finished.reward_terms.items()}
    return {
        ACCURACY: finished.correct or 0.0,
        **shares,
        names.TOOL_RATE: float(finished.used_tool),
        names.TOOL_CALLS: float(len(finished.results)),
        "tool/failed": float(sum(not result.ok for result in finished.results)),
        names.ZOOM_RATE: float(bool(finished.looks)),
        names.ZOOM_IOU: finished.best_iou or 0.0,
        "response/turns": float(len(finished.turns)),
        "response/policy_tokens": float(rollout.response.mask.sum()),
        "finish/length": float(sum(turn.finish_reason == "length" for turn in finished.turns)),
        f"stop/{finished.stop_reason}": 1.0,
    }
