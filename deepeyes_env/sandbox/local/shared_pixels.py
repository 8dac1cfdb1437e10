"""Images in memory that all sessions share and none can change."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import weakref
from collections import OrderedDict

import numpy as np

from deepeyes_env.extras import import_extra
from deepeyes_env.images import Image

_F_SEAL_FUTURE_WRITE = 0x10  # Python 3.11 has no name for it
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _F_SEAL_FUTURE_WRITE
_KEPT = 64
_SPARE = 16
_LEAST = 1 << 20
_STRIP = 64
"""Rows written at once: they stay in the processor's cache, which halves the time."""


class _Memory:
    """Memory that this process writes and sessions, which get its file, can only read.

    To have it from the system costs several times what it costs to write it, so that it is used again and again.

    Args:
        size: Bytes that it has to hold; more fit in.
    """

    def __init__(self, size: int) -> None:
        self.owner = os.getpid()
        self.capacity = max(_LEAST, 1 << (size - 1).bit_length())
        self.fd = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self.fd)
        os.ftruncate(self.fd, self.capacity)
        self._bytes = np.frombuffer(mmap.mmap(self.fd, self.capacity), np.uint8)
        self._used = 0

    def write(self, pixels: Image) -> None:
        """Write an image, four bytes a pixel, and nothing of an earlier one is left."""
        cv2 = import_extra("cv2", "sandbox")
        height, width, _ = pixels.shape
        size = 4 * width * height
        fresh = self._used == 0
        written = self._bytes[:size].reshape(height, width, 4)
        for top in range(0, height, _STRIP):
            strip = np.ascontiguousarray(pixels[top : top + _STRIP])
            if fresh:  # by a call, which takes less time than as many page faults
                view = cv2.cvtColor(strip, cv2.COLOR_RGB2RGBA).data.cast("B")
                while view:
                    view = view[os.write(self.fd, view) :]
            else:
                cv2.cvtColor(strip, cv2.COLOR_RGB2RGBA, dst=written[top : top + _STRIP])
        if fresh:
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)  # what is mapped here can still be written here
        self._bytes[size : self._used] = 0
        self._used = max(size, self._used)


class SharedImage:
    """One image in shared memory; it is there as long as the object.

    Args:
        pixels: RGB, ``uint8``, ``(height, width, 3)``.
        spare: Memory that is free, which is taken from here and given back to here.
    """

    def __init__(self, pixels: Image, spare: list[_Memory]) -> None:
        size = 4 * pixels.shape[0] * pixels.shape[1]
        mine = [each for each in spare if each.owner == os.getpid() and each.capacity >= size]  # and no parent's
        memory = min(mine, key=lambda each: each.capacity, default=None)
        if memory is None:
            memory = _Memory(size)
        else:
            spare.remove(memory)
        memory.write(pixels)
        self._fd = memory.fd
        weakref.finalize(self, spare.append, memory)

    def opened(self) -> int:
        """Return a descriptor for one session, to be closed: a copy of one would share its position with others."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)


class SharedPixels:
    """The images that sessions were given last, each written once.

    Who gives an image to a session keeps it until the session has ended: then its memory may get another image.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[int, tuple[weakref.ref[Image], SharedImage]] = OrderedDict()
        self._spare: list[_Memory] = []

    def of(self, pixels: Image) -> SharedImage:
        """Return an image in shared memory; the same array is written once, as long as it is there."""
        with self._lock:
            found = self._known.get(id(pixels))
            if found is not None and found[0]() is pixels and not pixels.flags.writeable:
                self._known.move_to_end(id(pixels))
                return found[1]
            for key in [key for key, (array, _) in self._known.items() if array() is None]:
                del self._known[key]
            shared = SharedImage(pixels, self._spare)
            del self._spare[_SPARE:]
            if not pixels.flags.writeable:  # one that may change has to be written again
                self._known[id(pixels)] = (weakref.ref(pixels), shared)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return shared
