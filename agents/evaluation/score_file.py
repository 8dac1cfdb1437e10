"""scores.jsonl: what the judge said about each episode of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.agents.run_folder import EARLIER_SCORES, SCORES
from deepeyes_env.core import RewardTerm
from deepeyes_env.data.fields import get, parse_object
from deepeyes_env.errors import DataError
from deepeyes_env.json_lines import JSONLinesFile, read_lines
from deepeyes_env.trajectories.schema import from_fields


@dataclass(frozen=True, slots=True)
class Score:
    """What the judge said about one episode.

    Attributes:
        episode: Number of the episode.
        value: How right the answer is, from 0 to 1; ``None`` if there is no verdict.
        prediction: The answer that was judged; ``None`` if the episode has none.
        judge: Which judge decided; empty without an answer.
        reason: Why.
        terms: All terms of the rubric by name.
        error: Why there is no verdict; empty if there is one.
    """

    episode: int
    value: float | None = None
    prediction: str | None = None
    judge: str = ""
    reason: str = ""
    terms: Mapping[str, RewardTerm] = field(default_factory=dict)
    error: str = ""


class ScoreFile:
    """Appends scores to a run folder, a line each; threads may share it.

    The first line says who judges. A folder that was judged by another one keeps those scores in
    ``scores.earlier.jsonl``. Whatever a killed process left of a line is cut off.

    Attributes:
        done: Numbers of the episodes that have a verdict.

    Args:
        folder: The run folder.
        judge: Describes judge and rubric; JSON-able.
    """

    def __init__(self, folder: Path, judge: Mapping[str, Any]) -> None:
        path = folder / SCORES
        begun = judge_of(folder) == dict(judge)
        if path.is_file() and not begun:
            path.replace(folder / EARLIER_SCORES)
        self._file = JSONLinesFile(path)
        self.done = self.done_by(folder, judge)
        if not begun:
            self._append({"scored_by": dict(judge)})

    @staticmethod
    def done_by(folder: Path, judge: Mapping[str, Any]) -> set[int]:
        """Return the numbers of the episodes on which this judge has given a verdict."""
        if judge_of(folder) != dict(judge):
            return set()
        return {score.episode for score in read_scores(folder) if not score.error}

    def write(self, score: Score) -> None:
        """Append one score; the last one of an episode counts."""
        self._append(asdict(score))
        if not score.error:
            self.done.add(score.episode)

    def _append(self, record: Mapping[str, Any]) -> None:
        self._file.append(json.dumps(record, default=asdict))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def judge_of(folder: Path) -> dict[str, Any]:
    """Return who judged a run; empty if nobody did."""
    try:
        with (folder / SCORES).open("rb") as file:
            return get(parse_object(file.readline()), "scored_by", dict, "")
    except (OSError, ValueError):
        return {}


def read_scores(folder: Path) -> Iterator[Score]:
    """Give the scores of a run in the order in which they were written; none if nobody judged it.

    Raises:
        DataError: A whole line is no score.
    """
    path = folder / SCORES
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
            if "scored_by" not in record:
                get(record, "terms", dict, "")  # what has none was not written by us
                yield from_fields(record, Score)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number}: is no score ({error}); judge the run again") from error


def last_scores(folder: Path) -> dict[int, Score]:
    """Return the score of each episode."""
    return {score.episode: score for score in read_scores(folder)}
