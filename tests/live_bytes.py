"""LiveBytes: the most bytes that tensors held at once while a block ran, by what operators put out."""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operators make while it is on, until the last tensor on each is gone.

    Attributes:
        held: Bytes of those that are there now.
        peak: The most that it ever was.
        rows: How many rows the tables have that are as wide as ``width``.
    """

    def __init__(self, width=None):
        super().__init__()
        self.held = self.peak = 0
        self.rows = set()
        self.width = width
        self._known = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for given in tree_leaves((args, kwargs or {})):
            if isinstance(given, torch.Tensor) and id(given.untyped_storage()) not in self._known:
                self._keep(given, 0)  # it was there before
        made = func(*args, **(kwargs or {}))
        for output in tree_leaves(made):
            if isinstance(output, torch.Tensor):
                self._keep(output, output.untyped_storage().nbytes())
                if output.ndim == 2 and output.shape[1] == self.width:
                    self.rows.add(output.shape[0])
        return made

    def restart(self):
        """Begin a stage: forget the peak so far."""
        self.peak = self.held

    def _keep(self, tensor, nbytes):
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return
        self._known[key] = weakref.ref(storage, lambda _: self._gone(key, nbytes))
        self.held += nbytes
        self.peak = max(self.peak, self.held)

    def _gone(self, key, nbytes):
        if self._known.pop(key, None) is not None:
            self.held -= nbytes
