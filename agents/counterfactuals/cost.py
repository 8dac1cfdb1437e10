"""What a run will cost, told before it begins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from deepeyes_env.agents.counterfactuals.outcomes import Outcome
from deepeyes_env.agents.counterfactuals.plan import Asked
from deepeyes_env.agents.evaluation.rows import context_tokens
from deepeyes_env.agents.play import Episode
from deepeyes_env.agents.play_async import MakeEnv
from deepeyes_env.errors import DeepEyesError

OPENED = 8
"""How many episodes of each condition are opened, to see how many tokens one begins with."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run will cost.

    Attributes:
        episodes: Episodes that are to be played.
        done: Episodes of the plan that are on disk already.
        tokens: Tokens of the conversations to be played, images included: as many as those on disk had, and where
            there are none, what an episode opens with, which is less.
    """

    episodes: int
    done: int = 0
    tokens: int = 0

    def __str__(self) -> str:
        already = f" ({self.done:,} more are on disk)" if self.done else ""
        return f"{self.episodes:,} episodes{already}, about {self.tokens:,} tokens, images included"


class AsksEpisodes(Protocol):
    """What can say how episodes are played."""

    def episodes(self, asked: Sequence[Asked], /) -> Iterator[Episode]:
        """Give episodes to be played."""
        ...


def cost_of(
    plan: AsksEpisodes, todo: Collection[Asked], earlier: Iterable[Outcome] = (), make_env: MakeEnv | None = None
) -> Cost:
    """Return what a run will cost.

    Args:
        plan: Says how episodes are played.
        todo: What is to be played.
        earlier: What is on disk.
        make_env: Makes an environment, for conditions that nothing on disk tells of.
    """
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for outcome in earlier:
        if not outcome.error:
            sums[outcome.condition] += outcome.context
            counts[outcome.condition] += 1
    needed = Counter(asked.condition for asked in todo)
    unknown = [asked for asked in todo if asked.condition not in counts]
    opened = _opened(plan, unknown, make_env) if unknown and make_env else {}
    means = {name: sums[name] / counts[name] if name in counts else opened.get(name, 0.0) for name in needed}
    tokens = round(sum(means[name] * count for name, count in needed.items()))
    return Cost(len(todo), counts.total(), tokens)


def _opened(plan: AsksEpisodes, todo: Iterable[Asked], make_env: MakeEnv) -> Mapping[str, float]:
    """Return how many tokens an episode opens with under each condition."""
    looked: Counter[str] = Counter()
    picked: list[Asked] = []
    for asked in todo:
        if looked[asked.condition] < OPENED:
            looked[asked.condition] += 1
            picked.append(asked)
    tokens: defaultdict[str, list[int]] = defaultdict(list)
    env = make_env()
    for asked, episode in zip(picked, plan.episodes(picked), strict=True):
        try:
            _, info = env.reset(seed=episode.seed, options=episode.options)
        except (DeepEyesError, OSError):  # it will be an outcome with an error
            continue
        tokens[asked.condition].append(context_tokens(info["trajectory"]))
    env.close()
    return {name: fmean(values) for name, values in tokens.items()}
