"""Multimodal rotary positions (mrope) of Qwen2.5-VL, from any token of a conversation on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size


def rotary_positions(
    ids: NDArray[np.int64], grids: Sequence[Size], image_token: int, start: int = 0
) -> tuple[NDArray[np.int64], int]:
    """Return the rotary positions of tokens, and the position of the token after them.

    A text token has the same position on all three axes. The tokens of an image share one position in time, count rows
    and columns from there, and the text goes on after the larger of the two (Qwen2-VL, arXiv 2409.12191). Unlike
    transformers' ``get_rope_index`` this can begin in the middle of a conversation, and needs no tensors.

    Args:
        ids: Token ids ``(L,)``; ``columns * rows`` image tokens in a row for each image.
        grids: ``(columns, rows)`` of image tokens of each image in ``ids``.
        image_token: Id of the image token.
        start: Position of the first token.

    Returns:
        Positions ``(3, L)`` (time, row, column), and the next free position.

    Raises:
        UsageError: The image tokens in ``ids`` are not those of ``grids``.
    """
    if int(np.count_nonzero(ids == image_token)) != sum(columns * rows for columns, rows in grids):
        raise UsageError(f"{np.count_nonzero(ids == image_token)} image tokens do not fit grids {list(grids)}")
    positions = np.empty((3, len(ids)), np.int64)
    done, position = 0, start
    for columns, rows in grids:
        image = done + int(np.argmax(ids[done:] == image_token))
        positions[:, done:image] = np.arange(position, position + image - done)
        position += image - done
        done = image + columns * rows
        if not (ids[image:done] == image_token).all():
            raise UsageError(f"the {columns * rows} tokens of an image are not all image tokens")
        positions[0, image:done] = position
        positions[1, image:done] = position + np.repeat(np.arange(rows), columns)
        positions[2, image:done] = position + np.tile(np.arange(columns), rows)
        position += max(columns, rows)
    positions[:, done:] = np.arange(position, position + len(ids) - done)
    return positions, position + len(ids) - done
