"""Transport: how what environments return travels between processes.

All arrays of one answer lie end to end in one buffer, each once however often it is referred to, and the receiver gets
views of it. Of a finished trajectory only the delta travels: the receiver has the rest already.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.core import Trajectory
from deepeyes_env.envs.vector.messages import Outcome, Running

PackedArrays: TypeAlias = tuple[bytes, NDArray[np.uint8]]
"""A pickle in which arrays are references, and the buffer that they refer to: ``(n,)`` ``uint8``."""

_ALIGNMENT = 64
_SENT_BEFORE = frozenset({"sample", "prompt", "system_prompt", "turns"})


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.size = 0
        self.placed: dict[int, tuple[int, NDArray[Any]]] = {}  # by id; holding the array keeps its id taken

    def persistent_id(self, obj: Any) -> Any:
        """Put an array into the buffer, and return where it is; ``None`` for everything else, which is pickled."""
        if type(obj) is not np.ndarray or obj.dtype.hasobject:
            return None
        if id(obj) not in self.placed:
            self.placed[id(obj)] = (self.size, obj)
            self.size += -(-obj.nbytes // _ALIGNMENT) * _ALIGNMENT
        return (self.placed[id(obj)][0], obj.shape, obj.dtype)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, buffer: NDArray[np.uint8]) -> None:
        super().__init__(file)
        self.buffer = buffer.data.toreadonly()
        self.made: dict[Any, NDArray[Any]] = {}

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """Return the array at a place in the buffer, the same one each time."""
        if pid not in self.made:
            offset, shape, dtype = pid
            count = int(np.prod(shape, dtype=np.int64))
            self.made[pid] = np.frombuffer(self.buffer, dtype, count, offset if count else 0).reshape(shape)
        return self.made[pid]


def pack(value: Any) -> PackedArrays:
    """Write a value down; arrays that occur several times are written once.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: Something in it cannot be pickled.
    """
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump(value)
    buffer = np.empty(packer.size, dtype=np.uint8)
    for offset, array in packer.placed.values():
        np.ndarray(array.shape, array.dtype, buffer, offset)[...] = array
    return file.getvalue(), buffer


def unpack(packed: PackedArrays) -> Any:
    """Read a value back; its arrays are read-only views of the buffer, which they keep alive."""
    pickled, buffer = packed
    return _Unpacker(io.BytesIO(pickled), buffer).load()


@dataclass(frozen=True)
class TrajectoryDelta:
    """What is new in a finished trajectory to whoever has its prompt and turns.

    Attributes:
        fields: Fields of the trajectory by name.
    """

    fields: Mapping[str, Any]


def strip(outcome: Outcome) -> Outcome:
    """Leave out of a finished episode what was sent before."""
    trajectory = outcome.info.get("trajectory")
    if not outcome.done or not isinstance(trajectory, Trajectory):
        return outcome
    new = {
        field.name: getattr(trajectory, field.name) for field in fields(Trajectory) if field.name not in _SENT_BEFORE
    }
    return replace(outcome, info={**outcome.info, "trajectory": TrajectoryDelta(new)})


def restore(outcome: Outcome, running: Running | None) -> Outcome:
    """Undo ``strip``, given the episode before its last turn."""
    delta = outcome.info.get("trajectory")
    if not isinstance(delta, TrajectoryDelta) or running is None:
        return outcome
    trajectory = running.trajectory(**delta.fields)
    if "turn" in outcome.info:
        trajectory = trajectory.extended(outcome.info["turn"])
    return replace(outcome, info={**outcome.info, "trajectory": trajectory})
