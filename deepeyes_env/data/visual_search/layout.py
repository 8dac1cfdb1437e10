"""Where objects stand and what they look like; nothing is drawn here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.frames import Size

_TRIES = 20


def capacity(size: Size, side: int, gap: int) -> int:
    """Return how many squares of ``side`` pixels surely find a place in a scene, ``gap`` pixels apart."""
    cell = _cell(side, gap)
    return (size[0] // cell) * (size[1] // cell)


def place(rng: random.Random, size: Size, sides: Sequence[int], gap: int, parity: int) -> list[tuple[int, int]]:
    """Find places for squares, ``gap`` pixels apart or more.

    Args:
        rng: Source of chance.
        size: ``(width, height)`` of the scene in pixels.
        sides: Sides of the squares in pixels; at most ``capacity`` of them, counted with the largest.
        gap: In pixels; at least 2.
        parity: Remainder by two of every left edge: layouts of different parity are never equal.

    Returns:
        The top left corner ``(x, y)`` of each square.
    """
    for _ in range(_TRIES):
        corners: list[tuple[int, int]] = []
        for side in sides:
            x = 2 * rng.randint(0, (size[0] - side - parity) // 2) + parity
            y = rng.randint(0, size[1] - side)
            if not all(
                x + side + gap <= left or left + other + gap <= x or y + side + gap <= top or top + other + gap <= y
                for (left, top), other in zip(corners, sides, strict=False)
            ):
                break
            corners.append((x, y))
        else:
            return corners
    return _place_on_grid(rng, size, sides, gap, parity)


def _place_on_grid(
    rng: random.Random, size: Size, sides: Sequence[int], gap: int, parity: int
) -> list[tuple[int, int]]:
    """Place squares in the cells of a grid: less varied, but it never fails."""
    cell = _cell(max(sides), gap)
    cells = rng.sample(list(product(range(size[0] // cell), range(size[1] // cell))), len(sides))
    corners = []
    for (column, row), side in zip(cells, sides, strict=True):
        play = cell - gap - side
        x = column * cell + 2 * rng.randint(0, max(0, play - parity) // 2) + parity
        corners.append((x, row * cell + rng.randint(0, play)))
    return corners


def _cell(side: int, gap: int) -> int:
    # Even, so that a cell's left edge does not change the parity of what stands in it.
    return side + gap + (side + gap) % 2


def looks(rng: random.Random, number: int, shapes: Sequence[str]) -> list[tuple[str, str]]:
    """Choose different ``(shape, colour)`` pairs.

    The second has the colour of the first and the third its shape, where there are shapes enough: neither word of
    "the red circle" alone is enough to find it.
    """
    first = (rng.choice(shapes), rng.choice(list(COLOURS)))
    rest = [look for look in product(shapes, COLOURS) if look != first]
    rng.shuffle(rest)
    alike = [next((look for look in rest if look[part] == first[part]), first) for part in (1, 0)]
    chosen = list(dict.fromkeys([first, *alike, *rest]))
    return chosen[:number]
