"""effects.jsonl: what each call of a run was worth, and all of them together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deepeyes_env.agents.evaluation.statistics import FEW, NO_WIDTH, Interval, bootstrap, newcombe, wilson
from deepeyes_env.agents.run_folder import EFFECTS
from deepeyes_env.call_effects import CallEffect, CallVerdict, with_call_effects
from deepeyes_env.core import Trajectory
from deepeyes_env.data.fields import get, parse_object
from deepeyes_env.errors import DataError
from deepeyes_env.files import replacing
from deepeyes_env.json_lines import read_lines
from deepeyes_env.trajectories.schema import from_fields

VERDICTS: tuple[CallVerdict, ...] = ("mattered", "decorative", "harmful")

Effects = Mapping[int, Sequence[CallEffect]]
"""The effects of calls by the number of their episode."""


def effect_of(call: int, pairs: Sequence[tuple[bool, bool]], change: str) -> CallEffect:
    """Return what a call was worth.

    The interval is Newcombe's for proportions in pairs.

    Args:
        call: Which call.
        pairs: Of each repeat, whether the answer was right with the result as it was, and with it changed.
        change: How it was changed.
    """
    both = sum(was and other for was, other in pairs)
    better = sum(was and not other for was, other in pairs)
    worse = sum(other and not was for was, other in pairs)
    interval = newcombe(both, better, worse, len(pairs))
    return CallEffect(call, (better - worse) / len(pairs), interval.low, interval.high, len(pairs), change)


@dataclass(frozen=True, slots=True)
class CreditSummary:
    """What the calls of a run were worth, all together.

    Attributes:
        calls: How many were played.
        episodes: In how many episodes.
        change: How results were changed.
        verdicts: How many mattered, were decorative, did harm.
        effect: Mean effect of a call.
        low: Lower end of its 95 % confidence interval: a bootstrap over episodes, or where they are few
            or all alike, Wilson's.
        high: Upper end.
    """

    calls: int
    episodes: int
    change: str
    verdicts: Mapping[str, int]
    effect: float
    low: float
    high: float


def summary_of(effects: Effects) -> CreditSummary | None:
    """Return what all calls were worth together; ``None`` if none was played."""
    listed = [(episode, each) for episode, calls in effects.items() for each in calls]
    if not listed:
        return None
    values = [each.effect for _, each in listed]
    mean, episodes = sum(values) / len(values), len({episode for episode, _ in listed})
    interval = bootstrap(values, [episode for episode, _ in listed])
    if episodes < FEW or interval.high - interval.low < NO_WIDTH:
        shares = wilson((mean + 1) / 2 * episodes, episodes)  # effects are from -1 to 1
        interval = Interval(2 * shares.low - 1, 2 * shares.high - 1)
    counts = Counter(each.verdict for _, each in listed)
    return CreditSummary(
        calls=len(listed),
        episodes=episodes,
        change=listed[0][1].change,
        verdicts={name: counts[name] for name in VERDICTS},
        effect=mean,
        low=interval.low,
        high=interval.high,
    )


def write_effects(folder: Path, effects: Effects) -> None:
    """Write the effects of a run's calls into its folder, an episode a line."""
    with replacing(folder / EFFECTS) as beside, beside.open("w", encoding="ascii") as file:
        for episode, calls in sorted(effects.items()):
            file.write(json.dumps({"episode": episode, "calls": [asdict(each) for each in calls]}) + "\n")


def read_effects(folder: Path) -> dict[int, tuple[CallEffect, ...]]:
    """Return the effects of a run's calls; empty if they were never played.

    Raises:
        DataError: A line holds none.
    """
    path, effects = folder / EFFECTS, {}
    for number, line in read_lines(path):
        try:
            record = parse_object(line)
            calls = get(record, "calls", list, "")
            effects[get(record, "episode", int, "")] = tuple(from_fields(each, CallEffect) for each in calls)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: holds no effects ({error}); `deepeyes credit` writes it anew"
            ) from error
    return effects


def with_effects(trajectory: Trajectory, effects: Effects) -> Trajectory:
    """Return a recorded episode with the effects of its calls, where they were played."""
    found = effects.get(trajectory.metadata.get("episode", -1))
    return trajectory if found is None else with_call_effects(trajectory, found)
