"""A run folder: the trajectories of one run, what the run was, and which episodes failed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from deepeyes_env.agents.play import Failure
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.files import replacing
from deepeyes_env.json_lines import JSONLinesFile
from deepeyes_env.output_folder import OutputFolder, is_vacant
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from deepeyes_env.trajectories.files import IMAGES, RECORDS
from deepeyes_env.trajectories.page import CONVERTED, PAGE

IfExists: TypeAlias = Literal["error", "resume", "overwrite"]
"""What to do about a folder that holds a run already: refuse, play only what is missing, or begin anew."""

SETTINGS = "run.json"
FAILURES = "failures.jsonl"
PLAN = "plan.json"
SCORES = "scores.jsonl"
EARLIER_SCORES = "scores.earlier.jsonl"
REPORT = "report.json"
REPORT_TEXT = "report.md"
PLOTS = "plots"

# Verdicts go first: those of a run that is gone would pass for those of the next one.
RUN = OutputFolder(
    "run of episodes",
    (
        *(SCORES, EARLIER_SCORES, REPORT, REPORT_TEXT, *PAGE, PLAN, RECORDS, FAILURES, SETTINGS),
        *(f"{IMAGES}/??/*", f"{CONVERTED}/*", f"{PLOTS}/*"),
    ),
)

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def number_of(trajectory: Trajectory) -> int:
    """Return the number of an episode within its run (``deepeyes_env.agents.play.Episode.labelled``)."""
    return int(trajectory.metadata["episode"])


def numbers_in(folder: Path) -> frozenset[int]:
    """Return the numbers of the episodes that a run recorded."""
    return frozenset(map(number_of, read_trajectories(folder)))


@dataclass(frozen=True)
class RunFolder:
    """Where a run is recorded.

    Attributes:
        path: The folder.
        finished: Numbers of the episodes that an earlier run recorded.
    """

    path: Path
    finished: frozenset[int] = frozenset()

    @classmethod
    def prepare(
        cls,
        path: str | Path,
        settings: Mapping[str, Any],
        if_exists: IfExists = "error",
        recorded: Callable[[Path], frozenset[int]] = numbers_in,
    ) -> RunFolder:
        """Make a folder ready for a run of these settings; one that is refused stays as it is.

        Args:
            path: The folder; made if it does not exist.
            settings: What the run is. Kept in ``run.json``; a run is resumed only with the settings it began with.
            if_exists: See ``IfExists``.
            recorded: Returns the numbers of the episodes in the folder of a run that is to be resumed; raises if it
                must not be.

        Raises:
            FileExistsError: The folder holds a run and ``if_exists`` is ``"error"``; it is no run's folder and holds
                other files; it is to be overwritten and holds what no run wrote; it is a file; or another process
                writes to it.
            UsageError: ``if_exists`` is unknown; or a run is to be resumed with other settings.
        """
        folder = Path(path)
        if if_exists not in get_args(IfExists):
            raise UsageError(f"if_exists={if_exists!r}: must be one of {', '.join(get_args(IfExists))}")
        stored = json.loads(json.dumps(dict(settings), default=_describe))
        finished: frozenset[int] = frozenset()
        if not is_vacant(folder):
            RUN.check_marked(folder)
            if if_exists == "error":
                raise FileExistsError(
                    f"{folder}: holds a run; give another folder, or resume or overwrite it (--resume, --overwrite)"
                )
            if if_exists == "overwrite":
                RUN.check(folder)
            TrajectoryWriter(folder).close()  # nobody else writes; cuts off a line that a killed run left torn
            if if_exists == "resume":
                _check_settings(folder, stored)
                finished = recorded(folder)
            else:
                RUN.clear(folder)
        RUN.claim(folder)
        with replacing(folder / SETTINGS) as temporary:
            temporary.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
        (folder / FAILURES).unlink(missing_ok=True)
        return cls(folder, finished)

    def record_failure(self, failure: Failure) -> None:
        """Append a failed episode to ``failures.jsonl``; a resumed run plays it again and begins that file anew."""
        played = failure.trajectory
        record = {
            **asdict(failure.episode),
            "error": failure.error,
            "sample": played.sample.id if played else None,
            "actions": [turn.action for turn in played.turns] if played else [],
        }
        with JSONLinesFile(self.path / FAILURES) as file:
            file.append(json.dumps(record))


def _describe(value: Any) -> str:
    """Name a setting that JSON cannot hold, so that equal settings have equal names in another process too."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sample):
        return value.id
    return _ADDRESS.sub("", repr(value)) if is_dataclass(value) else type(value).__qualname__


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    if not (folder / SETTINGS).is_file():
        raise FileExistsError(f"{folder}: holds what is left of a run, without {SETTINGS}; overwrite it (--overwrite)")
    before = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise UsageError(
                f"{folder}: cannot resume: {name} was {before.get(name)!r} and now is {settings.get(name)!r}; "
                "use the same settings, overwrite the run, or give another folder"
            )
