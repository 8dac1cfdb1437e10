"""What a program shows: figures by ``plt.show()``; images by ``show``, ``display`` or as the last expression."""

from __future__ import annotations

import gc
import io
import sys
import types
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageShow

from deepeyes_env.sandbox.worker.framing import IMAGES_TOGETHER
from deepeyes_env.sandbox.worker.kernel_calls import LIBC

_BLOCK = 20_000
"""Pixels that are sent at once."""


class Display:
    """Collects what a cell shows, in order.

    Attributes:
        images: RGB images, copies of what was shown.
        dropped: One sentence for each reason why something was left out.
    """

    def __init__(self, most: int = 10, pixels: int = 1 << 25) -> None:
        self.images: list[Image.Image] = []
        self.dropped: dict[str, int] = {}
        self._most = most
        self._pixels = pixels
        self._drew = False

    def begin(self, most: int, pixels: int) -> None:
        """Start a cell.

        Args:
            most: Images that may be shown.
            pixels: Of one image; all together have at most three times as many.
        """
        self.images, self.dropped = [], {}
        self._most, self._pixels = most, pixels

    def install(self) -> None:
        """Make Pillow, matplotlib and IPython's ``display`` show here."""
        import matplotlib.pyplot as plt
        from matplotlib.figure import Figure

        class SessionViewer(ImageShow.Viewer):
            def show(viewer, image: Image.Image, **options: Any) -> bool:  # noqa: N805
                self.image(image)
                return True

        ImageShow.register(SessionViewer(), 0)
        plt.show = lambda *args, **options: self.show_figures()  # a function, since matplotlib signs it
        Figure.show = lambda figure, warn=True: self.figure(figure)  # type: ignore[method-assign, assignment]
        ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
        module.__dict__.update(display=self.display, clear_output=_nothing, Image=_image)
        ipython.__dict__.update(display=module, __path__=[], get_ipython=_nothing, version_info=(9, 0, 0))
        sys.modules.update({"IPython": ipython, "IPython.display": module})

    def display(self, *values: Any, **options: Any) -> None:
        """Show images and figures, and print what the original prints for any value."""
        for value in values:
            if not self.is_figure(value):
                sys.stdout.write(f"{described(value)}\n")
            self.value(value)

    def value(self, value: Any) -> None:
        """Show a value if it is an image or a figure."""
        if isinstance(value, Image.Image):
            self.image(value)
        elif self.is_figure(value):
            self.figure(value)

    def image(self, image: Image.Image) -> None:
        """Show an image: its very pixels."""
        if self._fits(image.width, image.height):
            self.images.append(image.convert("RGB") if image.mode != "RGB" else image.copy())

    def figure(self, figure: Any) -> None:
        """Show a figure, laid out and cut as the original does, and close it."""
        import matplotlib.pyplot as plt

        width, height = figure.get_size_inches() * figure.dpi
        if self._fits(int(width), int(height)):
            figure.tight_layout()
            figure.savefig(_Drawn(self.images), format="raw", bbox_inches="tight")
        plt.close(figure)
        self._drew = True

    def pixels(self) -> Iterator[bytes]:
        """Yield the pixels of the images, in blocks so small that their memory is used again."""
        for image in self.images:
            rows = max(_BLOCK // image.width, 1)
            for top in range(0, image.height, rows):
                yield image.crop((0, top, image.width, min(top + rows, image.height))).tobytes()

    def show_figures(self) -> None:
        """Show every open figure once."""
        import matplotlib.pyplot as plt

        for number in plt.get_fignums():
            self.figure(plt.figure(number))

    def close_figures(self) -> None:
        """Close what was never shown: it does not come back with a later cell. Give back the memory of all."""
        import matplotlib.pyplot as plt

        if plt.get_fignums():
            plt.close("all")
            self._drew = True
        if self._drew:
            self._drew = False
            gc.collect()  # figures hold themselves
            LIBC.malloc_trim(0)

    @staticmethod
    def is_figure(value: Any) -> bool:
        """Whether a value is a figure of matplotlib."""
        from matplotlib.figure import Figure

        return isinstance(value, Figure)

    def warm_up(self) -> None:
        """Show something, so that what is made at the first use is there before sessions fork."""
        import matplotlib.pyplot as plt
        import numpy as np

        self.install()
        _, (left, right) = plt.subplots(1, 2)
        left.plot([1, 2], [3, 4], label="a")
        left.legend()
        right.imshow(np.zeros((4, 4, 3), np.uint8))
        right.set_title("A title")
        self.show_figures()

    def _fits(self, width: int, height: int) -> bool:
        if len(self.images) >= self._most:
            return self._drop(f"only {self._most} images are shown from one cell")
        if width * height > self._pixels or width < 1 or height < 1:
            return self._drop(f"an image of {width} x {height} px cannot be shown; at most {self._pixels:,} pixels")
        together = IMAGES_TOGETHER * self._pixels
        if width * height + sum(each.width * each.height for each in self.images) > together:
            return self._drop(f"only {together:,} pixels are shown from one cell")
        return True

    def _drop(self, reason: str) -> bool:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return False


class _Drawn:
    """The file that a figure is written to: what would be a PNG's pixels become an image.

    Args:
        images: Where that is put.
    """

    def __init__(self, images: list[Image.Image]) -> None:
        self._images = images

    def write(self, canvas: Any) -> None:
        """Take the canvas, ``(height, width, 4)``."""
        import numpy as np

        self._images.append(Image.fromarray(np.asarray(canvas)).convert("RGB"))

    def seek(self, position: int) -> None:
        """Do nothing; matplotlib knows a file by it."""


def described(value: Any) -> str:
    """Return how the last expression is written: its ``repr``, of an image without the address."""
    text = repr(value)
    if isinstance(value, Image.Image):
        text = text.partition(" at 0x")[0].rstrip(">") + ">"
    return f"\n{text}" if "\n" in text else text


def _image(data: Any = None, filename: str | None = None, **options: Any) -> Image.Image:
    """``IPython.display.Image``: what is in a file, or in bytes."""
    if isinstance(data, bytes):
        return Image.open(io.BytesIO(data))
    return Image.open(filename or data)


def _nothing(*args: Any, **options: Any) -> None:
    """Do nothing: there is no output to clear, and no shell."""
