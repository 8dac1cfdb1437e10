"""Checkpoints: the full state of a run on disk, written atomically."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepeyes_env.agents.transformers.policy import PROCESSOR_FILES
from deepeyes_env.checksums import CHECKSUMS
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.files import remove_folder, replacing_folder, sweep
from deepeyes_env.output_folder import OutputFolder

logger = logging.getLogger(__name__)

CHECKPOINT = OutputFolder(
    "checkpoint",
    (
        *("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("vocab.json", "merges.txt", "chat_template.jinja", *PROCESSOR_FILES, "state.pt", CHECKSUMS),
    ),
)
"""The folder of a checkpoint: a model directory and ``state.pt``."""

BEST = "best"
"""Folder of the model with the best held-out accuracy, beside the checkpoints."""

_NAME = re.compile(r"step_(\d{6,})")


class CheckpointError(DeepEyesError, RuntimeError):
    """A checkpoint could not be written or read; the message says what is still there."""


class CheckpointMismatchError(DeepEyesError, ValueError):
    """A checkpoint can be read, but belongs to a run with other settings."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        step: Steps done.
        position: Questions drawn from the data so far; with the run's seed it decides all further ones, and the seeds
            of their environments.
    """

    step: int = 0
    position: int = 0


class Checkpoints:
    """The checkpoints of a run: folders ``step_000020`` and so on, each with a model directory and ``state.pt``.

    What a process left that was killed while it wrote or deleted one is cleared away, or put back into its place.

    Args:
        folder: Where they are.
        keep: How many to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        sweep(folder)

    def found(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        named = (path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return sorted(path for path in named if (path / CHECKSUMS).is_file())

    def save(self, progress: Progress, policy: Any, states: Mapping[str, Any]) -> Path:
        """Write a checkpoint beside the others, then move it into place and remove those that are too old.

        Args:
            progress: Where the run is.
            policy: Has ``save(path)``.
            states: What ``torch.save`` can write.

        Raises:
            CheckpointError: It could not be written (the disk is full, say); earlier ones are untouched.
        """
        path = self.folder / f"step_{progress.step:06d}"
        try:
            with replacing_folder(path) as beside:  # one may be there, left by a run that was set back
                policy.save(beside)
                everything = {**states, "progress": (progress.step, progress.position), "random": _random_states()}
                torch.save(everything, beside / "state.pt")
        except Exception as error:
            last = self.found()[-1:]
            left = f"the last complete one is {last[0]}" if last else "there is none yet"
            raise CheckpointError(
                f"checkpoint {path} could not be written ({error}); {left}. Free some space and resume with --resume"
            ) from error
        for old in self.found()[: -self._keep]:
            remove_folder(old)
        return path

    def save_best(self, policy: Any, step: int, accuracy: float) -> None:
        """Write the model with the best held-out accuracy in place of the one before; ``best.json`` says which step.

        Raises:
            CheckpointError: It could not be written; the one before is untouched.
        """
        path = self.folder / BEST
        try:
            with replacing_folder(path) as beside:
                policy.save(beside)
                told = json.dumps({"step": step, "held_out_accuracy": accuracy})
                (beside / "best.json").write_text(told + "\n", encoding="utf-8")
        except Exception as error:
            raise CheckpointError(f"checkpoint {path} could not be written ({error}); free some space") from error

    def load(self, path: Path, device: torch.device) -> tuple[Progress, dict[str, Any]]:
        """Read the state of a checkpoint and set the random number generators back to it.

        The folder may be a stranger's: tensors, numbers and texts are read, and nothing in it is executed.

        Raises:
            CheckpointError: It cannot be read.
        """
        with reading(path):
            states: dict[str, Any] = torch.load(path / "state.pt", map_location=device, weights_only=True)
            progress = Progress(*states.pop("progress"))
            _set_random_states(states.pop("random"))
        return progress, states


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading a part of a checkpoint into a ``CheckpointError``."""
    try:
        yield
    except CheckpointMismatchError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}); delete it to resume from an earlier one"
        ) from error


def _random_states() -> dict[str, Any]:
    """Return the state of every generator, in tensors, numbers and texts: nothing else is read from a checkpoint."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    name, keys, *rest = np.random.get_state()
    numpy = (name, np.asarray(keys).tolist(), *rest)
    return {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state(), "cuda": cuda}


def _set_random_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
