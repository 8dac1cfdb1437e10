"""Frames of videos, by time; extra ``video``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.errors import ImageError
from deepeyes_env.extras import import_extra
from deepeyes_env.images.codec import MAX_PIXELS, Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.ops import crop
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.images.sources.source_files import Stamp, content_key, shared_handle, unreadable

EXTRA = "video"

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")

MAX_SECONDS = 30.0
"""How long one frame may take: all frames since the last key frame are decoded for it."""
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,matroska,webm,avi"}
"""A playlist that goes by the name of a video would open other files, and addresses."""


@dataclass(frozen=True, slots=True)
class Frame(RegionSource):
    """A frame of a video.

    Attributes:
        path: The file.
        seconds: The time since the first frame, rounded to the clock of the file; the frame that is seen then is meant.
    """

    path: Path
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Its kind, a name by content of the file (see ``content_key``), and the time."""
        return f"frame {content_key(Stamp.of(self.path))} {self.seconds!r}"

    @property
    def size(self) -> Size:
        """``(width, height)`` of the video, turned upright."""
        return self._video().size

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file, and ``t=SECONDS``."""
        return (str(self.path), f"t={self.seconds!r}")

    @property
    def duration(self) -> float:
        """Seconds of the whole video; 0 if the file does not say."""
        return self._video().duration

    def at(self, seconds: float) -> Frame:
        """Return the frame that is seen at another time."""
        return replace(self, seconds=seconds)

    def numbered(self, index: int) -> Frame:
        """Return a frame by its number, from 0; where the rate varies, by the average rate."""
        rate = self._video().rate
        if not rate:
            raise ImageError(f"image {self.path}: does not say how many frames it has in a second; name a time")
        return replace(self, seconds=float(Fraction(2 * index + 1, 2) / rate))

    def read(self, box: PixelBox, size: Size) -> Image:
        """Decode the frame and cut a part out of it, in native pixels; see ``RegionSource.read``."""
        found = crop(self._video().frame(self.seconds), box)
        return found if found.base is None else _frozen(found.copy())

    def _video(self) -> _Video:
        video: _Video = _opened(Stamp.of(self.path))
        return video


def at_moment(source: object, moment: float) -> Frame:
    """Return the frame of a video at another moment.

    Raises:
        ImageError: The image is no frame of a video.
    """
    if not isinstance(source, Frame):
        raise ImageError(f"an image from {type(source).__name__} has no other moments")
    return source.at(moment)


@shared_handle
def _opened(stamp: Stamp) -> _Video:
    return _Video(stamp.path)


class _Video:
    """An open video; it is read by one thread at a time, and the frame that was read last is kept."""

    def __init__(self, path: Path) -> None:
        av = import_extra("av", EXTRA)
        self._path = path
        self._lock = threading.Lock()
        try:
            self._container = av.open(str(path.absolute()), container_options=_OPTIONS)
            self._stream = self._container.streams.video[0]
            self._unit = Fraction(self._stream.time_base)
            width, height = self._stream.codec_context.width, self._stream.codec_context.height
        except Exception as error:
            raise unreadable(path, error) from error
        if not 0 < width * height <= MAX_PIXELS:
            raise ImageError(f"image {path}: declares frames of {width} x {height} pixels")
        self.rate = self._stream.average_rate
        length = self._stream.duration and self._stream.duration * self._unit
        self.duration = float(length or Fraction(self._container.duration or 0, 1_000_000))
        self._last: tuple[int, int, Image] | None = None  # from, until, pixels
        self._start = 0
        first = next(self._decoded(), None)
        if first is None:
            raise unreadable(path, "it has no frame")
        self._start = first.pts
        pixels = _pixels(first)
        self.size: Size = (pixels.shape[1], pixels.shape[0])

    def frame(self, seconds: float) -> Image:
        """Return the frame that is seen at a time: the last one that begins by then."""
        wanted = self._start + round(max(0.0, seconds) / float(self._unit))
        with self._lock:
            if self._last is None or not self._last[0] <= wanted < self._last[1]:
                self._last = self._find(wanted)
            return self._last[2]

    def _find(self, wanted: int) -> tuple[int, int, Image]:
        try:
            for back in (0, 10, None):  # a key frame may be seen later than its place in the file says
                start = self._start if back is None else max(self._start, wanted - round(back / self._unit))
                self._container.seek(start, stream=self._stream, backward=True)
                found, until = self._before(wanted)
                if found is not None:
                    return (found.pts, until, _pixels(found))
        except ImageError:
            raise
        except Exception as error:
            raise unreadable(self._path, error) from error
        raise unreadable(self._path, f"it has no frame at {float(wanted * self._unit):g} s")

    def _before(self, wanted: int) -> tuple[Any, int]:
        """Decode from here to the last frame that begins by a time; return it, and when the next one begins."""
        found, end = None, time.monotonic() + MAX_SECONDS
        for frame in self._decoded():
            if frame.pts > wanted:
                return found, frame.pts
            found = frame
            if time.monotonic() > end:
                raise ImageError(f"image {self._path}: a frame takes more than {MAX_SECONDS:g} s to find")
        return found, wanted + 1

    def _decoded(self) -> Iterator[Any]:
        try:
            for frame in self._container.decode(self._stream):
                if frame.pts is not None:
                    yield frame
        except Exception as error:
            raise unreadable(self._path, error) from error


def _pixels(frame: Any) -> Image:
    """Return a frame as RGB, turned as its file says."""
    if frame.width * frame.height > MAX_PIXELS:
        raise ValueError(f"a frame of {frame.width} x {frame.height} pixels")
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return _frozen(np.ascontiguousarray(pixels))


def _frozen(pixels: Image) -> Image:
    pixels.flags.writeable = False
    return pixels
