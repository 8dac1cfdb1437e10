"""Gymnasium spaces for what a vision-language model says and sees.

They are known to Gymnasium's functions on spaces, so that its wrappers and vector environments work with them. Neither
has a flat form of fixed size: ``flatten`` leaves their values as they are, as it does in a ``Sequence``.

``gymnasium.spaces.Text`` is bound to a small character set and cannot hold a JSON tool call; ``Box`` has one fixed
shape and cannot hold images of many sizes. These two spaces can.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.spaces import Space, Tuple, flatten, flatten_space, unflatten
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector.utils import batch_differing_spaces, create_empty_array, create_shared_memory
from gymnasium.wrappers.utils import create_zero_array

from deepeyes_env.errors import UsageError
from deepeyes_env.images.codec import Image

MAX_SIDE = 2**16
"""The longest side of an image in an observation, in pixels."""

_SAMPLE_ALPHABET = string.printable + "äßéñçøłжщЯאبहを日本語한국🙂🖼️∑√≤"


class UnicodeText(Space[str]):
    r"""All strings of at most ``max_length`` characters that can be written as UTF-8.

    Every Unicode character is allowed, null bytes and newlines included; lone surrogates (which no UTF-8 file can hold)
    are not.

    Args:
        max_length: Longest string, in characters.
        min_length: Shortest string, in characters.
        sample_length: Longest string that ``sample`` draws.
        seed: Seed of the space's random number generator.

    Raises:
        UsageError: The lengths are not ``0 <= min_length <= max_length``.

    Example:
        >>> UnicodeText().contains('<tool_call>{"name": "größer"}</tool_call>')
        True
    """

    def __init__(
        self,
        max_length: int = 2**24,
        *,
        min_length: int = 0,
        sample_length: int = 64,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        if not 0 <= min_length <= max_length:
            raise UsageError(f"UnicodeText: needs 0 <= min_length <= max_length, got {min_length} and {max_length}")
        self.min_length = min_length
        self.max_length = max_length
        self.sample_length = min(max(sample_length, min_length), max_length)
        super().__init__(shape=(), dtype=np.str_, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed-size vector form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a string of ``min_length`` to ``sample_length`` characters.

        Raises:
            UsageError: A mask or probability is given; this space has none.
        """
        _refuse_masks(self, mask, probability)
        length = int(self.np_random.integers(self.min_length, self.sample_length + 1))
        return "".join(_SAMPLE_ALPHABET[i] for i in self.np_random.integers(len(_SAMPLE_ALPHABET), size=length))

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a string of allowed length without lone surrogates."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length and is_utf8(x)

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length}, min_length={self.min_length})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, UnicodeText)
            and self.max_length == other.max_length
            and self.min_length == other.min_length
        )

    __hash__ = None  # type: ignore[assignment]


class RGBImage(Space[Image]):
    """All RGB images: arrays of shape ``(height, width, 3)``, dtype ``uint8``, each side within bounds.

    Args:
        min_side: Shortest side, in pixels.
        max_side: Longest side, in pixels.
        sample_side: Longest side that ``sample`` draws, in pixels.
        seed: Seed of the space's random number generator.

    Raises:
        UsageError: The bounds are not ``1 <= min_side <= max_side``.
    """

    def __init__(
        self,
        *,
        min_side: int = 1,
        max_side: int = MAX_SIDE,
        sample_side: int = 64,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        if not 1 <= min_side <= max_side:
            raise UsageError(f"RGBImage: needs 1 <= min_side <= max_side, got {min_side} and {max_side}")
        self.min_side = min_side
        self.max_side = max_side
        self.sample_side = min(max(sample_side, min_side), max_side)
        super().__init__(shape=None, dtype=np.uint8, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Images of many sizes have no fixed-size vector form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> Image:
        """Draw an image of random size and random pixels.

        Raises:
            UsageError: A mask or probability is given; this space has none.
        """
        _refuse_masks(self, mask, probability)
        height, width = self.np_random.integers(self.min_side, self.sample_side + 1, size=2)
        return self.np_random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a ``(height, width, 3)`` ``uint8`` array with both sides within bounds."""
        return (
            isinstance(x, np.ndarray)
            and x.dtype == np.uint8
            and x.ndim == 3
            and x.shape[2] == 3
            and self.min_side <= min(x.shape[:2])
            and max(x.shape[:2]) <= self.max_side
        )

    def to_jsonable(self, sample_n: Iterable[Image]) -> list[dict[str, Any]]:
        """Return each image as ``{"shape": [h, w, 3], "data": base64 of the raw bytes}``."""
        return [
            {"shape": list(image.shape), "data": base64.b64encode(image.tobytes()).decode("ascii")}
            for image in sample_n
        ]

    def from_jsonable(self, sample_n: Sequence[Any]) -> list[Image]:
        """Invert ``to_jsonable``."""
        return [
            np.frombuffer(base64.b64decode(item["data"]), dtype=np.uint8).reshape(item["shape"]) for item in sample_n
        ]

    def __repr__(self) -> str:
        return f"RGBImage(min_side={self.min_side}, max_side={self.max_side})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RGBImage) and self.min_side == other.min_side and self.max_side == other.max_side

    __hash__ = None  # type: ignore[assignment]


def is_utf8(text: str) -> bool:
    """Whether a string can be written as UTF-8, which lone surrogates cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_masks(space: Space[Any], mask: Any | None, probability: Any | None) -> None:
    if mask is not None or probability is not None:
        raise UsageError(f"{type(space).__name__}.sample takes neither a mask nor probabilities")


# --- Gymnasium's functions on spaces ---------------------------------------------------------------------------------


def _smallest(space: UnicodeText | RGBImage) -> str | Image:
    """Return the value of a space that comes nearest to nothing."""
    if isinstance(space, UnicodeText):
        return " " * space.min_length
    return np.zeros((space.min_side, space.min_side, 3), np.uint8)


def _as_it_is(space: Space[Any], x: Any) -> Any:
    return x


def _itself(space: Space[Any]) -> Space[Any]:
    return space


def _equal(space_1: Space[Any], space_2: Space[Any]) -> bool:
    return space_1 == space_2


def _tuple_of(spaces: Sequence[Space[Any]]) -> Tuple[Any]:
    return Tuple([deepcopy(space) for space in spaces], seed=deepcopy(spaces[0].np_random))


def _several(space: UnicodeText | RGBImage, n: int = 1, fn: Callable[..., Any] = np.zeros) -> tuple[Any, ...]:
    return tuple(_smallest(space) for _ in range(n))


def _no_shared_memory(space: Space[Any], n: int = 1, ctx: Any = None) -> Any:
    raise TypeError(
        f"As {space} has a dynamic shape so its not possible to make a static shared memory. For `AsyncVectorEnv`, "
        "disable `shared_memory`."
    )


for _space in (UnicodeText, RGBImage):
    flatten.register(_space, _as_it_is)
    unflatten.register(_space, _as_it_is)
    flatten_space.register(_space, _itself)  # type: ignore[arg-type]  # its hint lists Gymnasium's own spaces
    is_space_dtype_shape_equiv.register(_space, _equal)
    batch_differing_spaces.register(_space, _tuple_of)
    create_empty_array.register(_space, _several)
    create_zero_array.register(_space, _smallest)
    create_shared_memory.register(_space, _no_shared_memory)
