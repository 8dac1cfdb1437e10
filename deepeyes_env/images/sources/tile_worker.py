"""The process in which ``.tile_cache`` streams a very large image into tiles; started by file name, speaks JSON lines.

One line out: ``null`` when the tiles are written, or a string that says what is wrong. It ends when its input closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from importlib import import_module
from typing import Any

TILE = 512


def limit(seconds: float, memory: int, nbytes: int) -> None:
    """Let the system end this process at a time, an address space, and a length of its file, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for the process that it works for
        signal.setitimer(signal.ITIMER_REAL, seconds)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def end_with_input() -> None:
    """End this process when nobody waits for it any more; libvips itself would go on."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def rgb(image: Any) -> Any:
    """Return an image as ``codec.decode`` would: 8 bits, of 16 the upper ones; on white; three channels."""
    if image.format == "ushort":
        image = (image >> 8).cast("uchar")
    if image.format != "uchar":
        raise ValueError(f"has samples of the kind {image.format}")
    if image.bands in (2, 4):
        image = image.flatten(background=255, max_alpha=255)
    if image.bands == 1:
        image = image.bandjoin([image, image])
    if image.bands != 3:
        raise ValueError(f"has {image.bands} channels")
    image = image.copy(interpretation="srgb")
    if image.get_typeof("orientation"):  # libtiff would turn each tile by itself
        image.remove("orientation")
    return image


def write(kind: str, source: str, target: str) -> None:
    """Stream an image into a TIFF of tiles, with a level for every halving; nothing is lost."""
    vips = import_module("pyvips")
    vips.cache_set_max(0)
    load = {"JPEG": vips.Image.jpegload, "PNG": vips.Image.pngload}[kind]
    image = rgb(load(source, access="sequential", fail_on="error"))
    image.tiffsave(
        target,
        bigtiff=True,
        tile=True,
        tile_width=TILE,
        tile_height=TILE,
        pyramid=True,
        depth="onetile",
        region_shrink="mean",
        compression="deflate",
        level=3,
        predictor="horizontal",
        keep="none",
    )


def main(kind: str, source: str, target: str, seconds: str, memory: str, nbytes: str) -> None:
    """Write the tiles, and say how it went."""
    problem = None
    try:
        limit(float(seconds), int(memory), int(nbytes))
        end_with_input()
        write(kind, source, target)
    except Exception as error:
        problem = " ".join(str(error).split())[:300] or type(error).__name__
    sys.stdout.write(json.dumps(problem) + "\n")
    sys.stdout.flush()
    os._exit(0)  # not before the thread that waits for the input


if __name__ == "__main__":
    main(*sys.argv[1:])
