"""Asking a model: the episodes that stages share, played by the engine of counterfactuals and counted by question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.agents.agent import Agent
from deepeyes_env.agents.counterfactuals import Cost, Outcome, run_conditions
from deepeyes_env.agents.curation.curation import ANSWERS, Curation
from deepeyes_env.agents.curation.format_stage import format_lines
from deepeyes_env.agents.curation.kept import as_asked
from deepeyes_env.agents.curation.label_file import Labelled
from deepeyes_env.agents.evaluation import Scoring
from deepeyes_env.core import Sample
from deepeyes_env.data import Dataset
from deepeyes_env.errors import UsageError
from deepeyes_env.output_folder import is_vacant

LEAST_SHARE = 0.5
"""A question is labelled where at least this share of its answers could be had."""


@dataclass(frozen=True)
class Asking:
    """Who is asked, and how.

    Attributes:
        agent: Who is asked.
        scoring: Who judges.
        folder: Where the episodes are, in the curation's folder.
        k: How often each question is asked under each condition.
        seed: Decides the order of options and the agent's draws.
        env: Environment id: tools and protocol.
        num_envs: How many episodes run at once with an agent that is not asynchronous.
        episodes: Whether episodes are recorded with their images, for the pages.
        settings: What else must be the same to go on; JSON-able.
        env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``.
        tell_cost: Called with what a stage will cost, before anything is asked.
        progress: Show a progress bar where standard error is a terminal.
    """

    agent: Agent
    scoring: Scoring
    folder: str = ANSWERS
    k: int = 8
    seed: int = 0
    env: str = "VisualToolbox-v2"
    num_envs: int = 8
    episodes: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tell_cost: Callable[[Cost], object] | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k}: must be at least 1")


@dataclass(slots=True)
class Tally:
    """What came of the episodes of one question under one condition, by repeat.

    Attributes:
        right: Bits of the repeats whose answer was right.
        known: Bits of those that were answered and judged.
        error: Why another was not.
        votes: How often each answer was given.
        uncalled: How many answers were given without a call, and how many of these were right.
        ious: IoU of the best zoom box of each episode that zoomed, where there are boxes.
    """

    right: int = 0
    known: int = 0
    error: str = ""
    votes: Counter[str] = field(default_factory=Counter)
    uncalled: tuple[int, int] = (0, 0)
    ious: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count an episode."""
        if outcome.error:
            self.error = outcome.error
            return
        self.known |= 1 << outcome.repeat
        self.right |= bool(outcome.right) << outcome.repeat
        self.votes[outcome.vote] += 1
        if not outcome.calls:
            self.uncalled = (self.uncalled[0] + 1, self.uncalled[1] + bool(outcome.right))
        if outcome.iou is not None:
            self.ious.append(outcome.iou)

    @property
    def count(self) -> int:
        """How many answers were judged."""
        return self.known.bit_count()

    @property
    def share(self) -> float:
        """Share of right answers of those that were judged."""
        return self.right.bit_count() / self.count


class Questions:
    """The questions of a curation as they are asked: without options where they can be."""

    def __init__(self, curation: Curation) -> None:
        self._curation = curation
        self._forms = {each.row: each for each in format_lines(curation.folder, forms_only=True)}
        self.view: Any = getattr(curation.dataset, "view", None)

    def __len__(self) -> int:
        return len(self._curation.dataset)

    def __getitem__(self, row: int) -> Sample:
        return as_asked(self._curation, self._curation.dataset[row], self._forms.get(row))

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(len(self)))

    @property
    def ids(self) -> dict[int, str]:
        """The id of each row that the stage ``format`` could label."""
        return {row: each.id for row, each in self._forms.items()}

    @property
    def readable(self) -> list[int]:
        """The rows that the stage ``format`` could label."""
        return sorted(self._forms)

    @property
    def boxed(self) -> list[int]:
        """Those of them that have a true box."""
        return [row for row in self.readable if self._forms[row].found.get("boxes")]


def ask(
    curation: Curation, questions: Dataset, asking: Asking, conditions: Sequence[str], rows: Sequence[int]
) -> dict[int, dict[str, Tally]]:
    """Ask questions under some conditions, as far as they were not asked; return what came of each.

    Args:
        curation: The curation.
        questions: The questions as they are asked.
        asking: Who is asked, and how.
        conditions: See ``deepeyes_env.agents.counterfactuals``.
        rows: Which questions.
    """
    tallies: dict[int, dict[str, Tally]] = {row: {name: Tally() for name in conditions} for row in rows}
    if not rows:
        return tallies
    out = Path(curation.folder) / asking.folder
    outcomes = run_conditions(
        questions,
        asking.agent,
        asking.scoring,
        out=out,
        conditions=conditions,
        k=asking.k,
        chosen=rows,
        seed=asking.seed,
        env=asking.env,
        num_envs=asking.num_envs,
        if_exists="error" if is_vacant(out) else "resume",
        keep_episodes=asking.episodes,
        settings={"open": curation.is_open, **asking.settings},
        tell_cost=asking.tell_cost,
        progress=asking.progress,
        **asking.env_kwargs,
    )
    for outcome in outcomes:
        tallies[outcome.sample][outcome.condition].add(outcome)
    return tallies


def lacking(row: int, id: str, tallies: Iterable[Tally], k: int) -> Labelled | None:
    """Return why a question cannot be labelled; ``None`` where enough of its answers could be had."""
    few = next((each for each in tallies if each.count < LEAST_SHARE * k), None)
    if few is None:
        return None
    return Labelled(row, id, reason=f"{few.count} of {k} answers could be had: {few.error}", again=True)
