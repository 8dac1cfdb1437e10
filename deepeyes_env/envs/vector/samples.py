"""SharedSamples: a data set whose rows are read once for all members of a group."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data import Dataset


class SharedSamples:
    """A data set that keeps the samples read last.

    The members of a group ask for the same row at about the same time. Without this each would have encoded bytes of
    its own, to be read, hashed and sent again; a row of DeepEyes holds several megabytes.

    Args:
        dataset: The data set; all else of it shows through.
        keep: How many samples to keep.
    """

    def __init__(self, dataset: Dataset, keep: int) -> None:
        self._dataset = dataset
        self._keep = keep
        self._kept: OrderedDict[int, Sample] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        with self._lock:
            sample = self._kept[index] if index in self._kept else self._dataset[index]
            self._kept[index] = sample
            self._kept.move_to_end(index)
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return sample

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._dataset, name)
