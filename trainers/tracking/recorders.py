"""Recorders: write the metrics of each step to a file, TensorBoard or Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import replacing


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
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(path) if row["step"] <= step and step > 0]
        with replacing(path) as beside:
            beside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read ``metrics.jsonl``; a last line that was torn off is left out.

    Raises:
        ValueError: Another line is not JSON.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UsageError(f"{path}, line {number}: not JSON; delete the line") from error
    return rows


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
