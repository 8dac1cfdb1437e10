"""The images that are measured: a noisy photograph and a page of text, at 4K and 8K, as JPEG files in memory."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZES = {"4K": (3840, 2160), "8K": (7680, 4320)}


def noisy_photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A real photograph, enlarged, with sensor noise, so that it neither compresses nor resizes too easily."""
    from skimage import data

    base = Image.fromarray(data.coffee()).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).normal(0, 8, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(base) + noise).clip(0, 255).astype(np.uint8))


def document_page(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A white page of black text in random words."""
    rng = np.random.default_rng(seed)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size[1] // 60)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    for y in range(40, size[1] - 60, size[1] // 45):
        words = ("".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(size[0] // (size[1] // 60) // 3))
        draw.text((60, y), " ".join(words), fill="black", font=font)
    return page


def jpeg(image: Image.Image) -> bytes:
    """Encode as JPEG, quality 92."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def all_sources(sizes: tuple[str, ...]) -> dict[str, bytes]:
    """Return the encoded images by name."""
    kinds = {"photo": noisy_photo, "page": document_page}
    return {f"{kind} {name}": jpeg(make(SIZES[name])) for name in sizes for kind, make in kinds.items()}
