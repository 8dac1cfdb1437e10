"""A run folder: the trajectories of one run, what the run was, and which episodes failed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from deepeyes_env import __version__
from deepeyes_env.agents.play import Failure
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.files import check_folder, replacing
from deepeyes_env.json_lines import JSONLinesFile
from deepeyes_env.output_folder import MARKER, OutputFolder, is_vacant
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from deepeyes_env.trajectories.files import EPISODE_FILES
from deepeyes_env.trajectories.page import PAGE_FILES

IfExists: TypeAlias = Literal["error", "resume", "overwrite"]
"""What to do about a folder that holds a run already: refuse, play only what is missing, or begin anew."""

SETTINGS = "run.json"
ABOUT = "about"
"""Key in the settings: what is told of a run and not compared when it is resumed."""

FAILURES = "failures.jsonl"
PLAN = "plan.json"
SCORES = "scores.jsonl"
OUTCOMES = "outcomes.jsonl"
ANSWERS = "answers.jsonl"
EFFECTS = "effects.jsonl"
CREDIT = "credit"
"""Folder, inside that of a run, of the episodes that tell what its calls were worth."""

EARLIER_SCORES = "scores.earlier.jsonl"
REPORT = "report.json"
REPORT_TEXT = "report.md"
PLOTS = "plots"
DOOR = "open.html"
"""Leads a browser to the page of ``deepeyes play`` while it runs."""

_PLAYED_ON = (OUTCOMES, ANSWERS, *EPISODE_FILES, *PAGE_FILES, SETTINGS, MARKER)

# Verdicts go first: those of a run that is gone would pass for those of the next one.
RUN = OutputFolder(
    "run of episodes",
    (
        *(
            SCORES,
            EARLIER_SCORES,
            EFFECTS,
            *(f"{CREDIT}/{name}" for name in _PLAYED_ON),
            OUTCOMES,
            ANSWERS,
            REPORT,
            REPORT_TEXT,
            *PAGE_FILES,
            PLAN,
            *EPISODE_FILES,
            FAILURES,
            SETTINGS,
            DOOR,
        ),
        *(f"{PLOTS}/{name}.{kind}" for name in ("accuracy", "tool_use", "repeats") for kind in ("png", "pdf")),
    ),
)

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def number_of(trajectory: Trajectory) -> int:
    """Return the number of an episode within its run (``deepeyes_env.agents.play.Episode.labelled``).

    Raises:
        DataError: The trajectory has none: it belongs to no run of ours, or its record is damaged.
    """
    number = trajectory.metadata.get("episode")
    if type(number) is not int:
        raise DataError(
            f"the trajectory of sample {trajectory.sample.id!r} has no number within a run: metadata['episode'] is "
            f"{number!r}; delete its line, and --resume plays the episode again"
        )
    return number


def numbers_in(folder: Path) -> frozenset[int]:
    """Return the numbers of the episodes that a run recorded."""
    return frozenset(map(number_of, read_trajectories(folder)))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell whatever does not fit while a file of a run is read as damage to that file.

    Raises:
        DataError: Something did not fit; the message names the file, the reason and the remedy.
    """
    try:
        yield
    except ValueError as error:
        raise DataError(
            f"{path}: is damaged ({error}); put a copy of it back, or play the run anew (--overwrite)"
        ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read ``run.json`` or ``plan.json``.

    Raises:
        DataError: It holds no JSON object.
    """
    with reading(path):
        return parse_object(path.read_bytes())


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
        about: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Make a folder ready for a run of these settings; one that is refused stays as it is.

        Args:
            path: The folder; made if it does not exist.
            settings: What the run is. Kept in ``run.json``; a run is resumed only with the settings it began with.
            if_exists: See ``IfExists``.
            recorded: Returns the numbers of the episodes in the folder of a run that is to be resumed; raises if it
                must not be.
            about: What else a reader wants to know of the run, JSON-able. Kept in ``run.json`` under ``about``, with
                the version and the date; a run may be resumed where it differs.

        Raises:
            FileExistsError: The folder holds a run and ``if_exists`` is ``"error"``; it is no run's folder and holds
                other files; it is to be overwritten and holds what no run wrote; it is a file; or another process
                writes to it.
            UsageError: ``if_exists`` is unknown; or a run is to be resumed with other settings.
        """
        folder = Path(path)
        check_folder(folder)
        if if_exists not in get_args(IfExists):
            raise UsageError(f"if_exists={if_exists!r}: must be one of {', '.join(get_args(IfExists))}")
        stored = _plain(settings)
        told = {"deepeyes_env": __version__, "begun": _now(), **_plain(about or {})}
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
                before = _check_settings(folder, stored)
                told["begun"] = before.get("begun", told["begun"])
                finished = recorded(folder)
            else:
                RUN.clear(folder)
        RUN.claim(folder)
        with replacing(folder / SETTINGS) as temporary:
            temporary.write_text(json.dumps({**stored, ABOUT: told}, indent=2) + "\n", encoding="utf-8")
        (folder / FAILURES).unlink(missing_ok=True)
        return cls(folder, finished)

    def record_failure(self, failure: Failure) -> None:
        """Append a failed episode to ``failures.jsonl``; a resumed run plays it again and begins that file anew."""
        played = failure.trajectory
        record = {
            **{name: getattr(failure.episode, name) for name in ("number", "seed", "index")},
            "error": failure.error,
            "sample": played.sample.id if played else None,
            "actions": [turn.action for turn in played.turns] if played else [],
        }
        with JSONLinesFile(self.path / FAILURES) as file:
            file.append(json.dumps(record))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings), default=_describe))
    return plain


def _describe(value: Any) -> str:
    """Name a setting that JSON cannot hold, so that equal settings have equal names in another process too."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sample):
        return value.id
    return _ADDRESS.sub("", repr(value)) if is_dataclass(value) else type(value).__qualname__


def _check_settings(folder: Path, settings: dict[str, Any]) -> Mapping[str, Any]:
    """Compare the settings of a run with those it began with; return what else it told of itself."""
    if not (folder / SETTINGS).is_file():
        raise FileExistsError(f"{folder}: holds what is left of a run, without {SETTINGS}; overwrite it (--overwrite)")
    before = read_settings(folder / SETTINGS)
    about = before.pop(ABOUT, {})
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise UsageError(
                f"{folder}: cannot resume: {name} was {before.get(name)!r} and now is {settings.get(name)!r}; "
                "use the same settings, overwrite the run, or give another folder"
            )
    return about if isinstance(about, Mapping) else {}
