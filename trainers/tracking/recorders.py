"""Recorders: write the metrics of each step to a file, TensorBoard or Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import replacing
from deepeyes_env.json_lines import JSONLinesFile, read_lines


class Recorder(Protocol):
    """Records the metrics of a run, step by step."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...


class MetricsFile:
    """``metrics.jsonl``: one JSON object a step, on disk as soon as the step is over.

    Args:
        path: The file.
        step: Step that the run resumes from; later lines, left by a run that was killed, are removed.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self._file = continued(path, step)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line."""
        self._file.append(json.dumps({"step": step, **metrics}))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read ``metrics.jsonl``; a last line that was torn off is left out.

    Raises:
        UsageError: Another line is not JSON.
    """
    return [row for row, _ in _rows(path)]


def continued(path: Path, step: int) -> JSONLinesFile:
    """Open a file of lines that each have a ``step``, to append to it.

    Args:
        path: The file.
        step: Step that the run resumes from; later lines, left by a run that was killed, are removed.
    """
    kept = [line for row, line in _rows(path) if row["step"] <= step] if step else []
    with replacing(path) as beside:
        beside.write_bytes(b"".join(line + b"\n" for line in kept))
    return JSONLinesFile(path)


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    for number, line in read_lines(path):
        try:
            yield json.loads(line), line
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON; delete the line") from error


class TensorBoard:
    """Event files for TensorBoard.

    Args:
        folder: Where to put them.
        step: Step that the run resumes from; later points are hidden. At 0 all earlier ones are deleted.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in () if step else folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


class WandB:
    """Weights & Biases; a resumed run keeps its id, which is in ``wandb_id``.

    Args:
        project: Name of the project.
        folder: Folder of the run.
        settings: What the run is.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(self, project: str, folder: Path, settings: Mapping[str, Any]) -> None:
        wandb = import_extra("wandb", "wandb")
        kept = folder / "wandb_id"
        name = kept.read_text(encoding="utf-8") if kept.exists() else None
        self._run = wandb.init(project=project, dir=str(folder), config=dict(settings), id=name, resume="allow")
        with replacing(kept) as beside:
            beside.write_text(self._run.id, encoding="utf-8")

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
