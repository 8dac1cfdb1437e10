"""The folder of a curation: what is curated, and the labels beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.agents.curation.label_file import LABELS
from deepeyes_env.agents.run_folder import PLOTS, REPORT, REPORT_TEXT, read_settings
from deepeyes_env.data import Dataset, load
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.files import check_folder, replacing
from deepeyes_env.output_folder import OutputFolder, is_vacant

SETTINGS = "curation.json"
ANSWERS, SECOND = "answers", "second"
"""Folders of the episodes that the stages asked for: of the model, and of a second one."""

PAGES = "pages"
"""Folder of the pages of episodes, one for each condition."""

DISAGREEMENTS = "disagreements.html"
PERSON = "person.json"
"""What a person said of disagreements."""

FOLDERS = (ANSWERS, SECOND, PAGES)

CURATION = OutputFolder(
    "curation",
    (
        SETTINGS,
        f"{LABELS}/*.jsonl",
        REPORT,
        REPORT_TEXT,
        f"{PLOTS}/*",
        DISAGREEMENTS,
        PERSON,
        *(f"{each}/*" for each in FOLDERS),
    ),
)


@dataclass(frozen=True)
class Curation:
    """A curation that was begun.

    Attributes:
        folder: Where it is.
        dataset: The questions.
        settings: What it is of, and what was asked how.
    """

    folder: Path
    dataset: Dataset
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether questions are asked and written without options, where the stage ``format`` found that they can."""
        return bool(self.settings.get("open", True))


def begin_curation(
    folder: str | Path, data: str | Path | None = None, settings: Mapping[str, Any] | None = None
) -> Curation:
    """Make a folder ready for a curation, or open one that holds it, to go on.

    Args:
        folder: The folder; made if it does not exist.
        data: What ``deepeyes_env.data.load`` takes; may be left out where the folder knows it.
        settings: What a resumed curation must have in common with what was begun; ``None`` for those of the folder.

    Raises:
        FileExistsError: The folder holds something else.
        UsageError: No data, other data, or other settings than those it was begun with.
        DataError: The data cannot be read.
    """
    path = Path(folder)
    check_folder(path)
    if not is_vacant(path):
        CURATION.check_marked(path)
    before = read_settings(path / SETTINGS) if (path / SETTINGS).is_file() else {}
    if data is None and not before:
        raise UsageError(f"{path}: holds no curation yet; give the data")
    given = None if data is None else _named(str(data))
    source = given or str(before["data"])
    dataset = load(source)
    now = {"data": source, "rows": len(dataset), **(before if settings is None else settings)}
    now = {**now, "data": source, "rows": len(dataset)}
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            raise UsageError(
                f"{path}: was begun with {name}={before[name]!r}, and now it is {now[name]!r}; use the same, or give "
                "another folder"
            )
    merged = {**before, **now}
    if merged != before:
        CURATION.claim(path)
        with replacing(path / SETTINGS) as temporary:
            temporary.write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
    return Curation(path, dataset, merged)


def _named(data: str) -> str:
    """Return a name that means the same wherever the next command runs."""
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else data


def require_stages(folder: Path, needed: Mapping[str, str], done: list[str]) -> None:
    """Check that labels that are to be read are there.

    Args:
        folder: The curation's folder.
        needed: The stage of each label.
        done: The stages that have labels.

    Raises:
        DataError: A stage has none; the message has the option that runs it.
    """
    missing = [name for name, stage in needed.items() if stage not in done]
    if missing:
        stages = ",".join(dict.fromkeys(needed[name] for name in missing))
        raise DataError(f"{folder}: has no labels {', '.join(missing)} yet; --stages {stages} makes them")
