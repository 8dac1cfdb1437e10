"""Timing side by side: all candidates in every round, in random order, CPU time, medians."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds of CPU time (user and system, all threads) for one call."""

    median: float
    lowest: float
    highest: float


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    repeats: Mapping[str, int] | None = None,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Timing]:
    """Time every candidate once a round, in random order.

    Args:
        candidates: What to time, by name.
        rounds: How many rounds after one that is not counted.
        repeats: Calls of each candidate per round (1 by default).
        before: Untimed preparation of a candidate, run before its timed calls of each round.
    """
    rng = random.Random(0)
    seen: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name in rng.sample(list(candidates), len(candidates)):
            if before and name in before:
                before[name]()
            n = repeats.get(name, 1) if repeats else 1
            spent = _cpu_ms(candidates[name], n)
            if number:
                seen[name].append(spent)
    return {name: Timing(statistics.median(times), min(times), max(times)) for name, times in seen.items()}


def _cpu_ms(call: Callable[[], object], n: int) -> float:
    """Return the mean CPU time of a call; garbage is collected before and not during, as ``timeit`` does."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time_ns()
        for _ in range(n):
            call()
        return (time.process_time_ns() - start) / n / 1e6
    finally:
        gc.enable()
