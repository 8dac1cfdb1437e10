"""Model families: in which coordinates a model writes boxes, and what an image costs it in tokens.

Both follow from the family, which a model directory names as ``model_type`` in ``config.json``. Of a model behind an
endpoint only the name is known: then the family is read off the name, or named by the user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images.frames import FRAMES, Frame, Size, check_frame_name
from deepeyes_env.images.views import DEFAULT_FACTOR, ViewBudget, bound_aspect_ratio
from deepeyes_env.registry import Registry, letters_and_digits

if TYPE_CHECKING:
    from deepeyes_env.agents.transformers.architecture import Architecture

TILE = 448
"""Side in pixels of the tiles that InternVL cuts an image into."""

TILE_TOKENS = 256
MOST_TILES = 12


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """A kind of model.

    Attributes:
        model_type: What ``config.json`` calls it.
        frame: Coordinate frame in which it writes boxes.
        view: The sizes to which its image processor brings an image; with this as its view budget an environment shows
            images that the processor leaves as they are. ``None`` for a processor that cuts tiles.
        names: What occurs in the names of its models; case and punctuation do not matter.
        architecture: Returns how a local model of the family is run (imports torch); ``None`` if none can be.
    """

    model_type: str
    frame: Frame
    view: ViewBudget | None = None
    names: tuple[str, ...] = ()
    architecture: Callable[[], Architecture] | None = field(default=None, compare=False)

    def visual_tokens(self, size: Size) -> int:
        """Return how many tokens an image of ``(width, height)`` pixels is to the model, marks not counted.

        That is what its processor makes of the image as it is sent. One that it refuses, with a side ratio above
        200, is counted with its short side stretched to that ratio.
        """
        if self.view is None:
            return TILE_TOKENS * _tiles(size)
        return self.view.visual_tokens(self.view.resized(bound_aspect_ratio(size)))

    def view_within(self, budget: ViewBudget) -> ViewBudget:
        """Return a budget that shows as much as the given one, in sizes that the model's processor leaves as they are.

        Where the given one shows less than the processor's least, it stays at that: not to show a detail is on purpose.
        """
        if self.view is None:
            return budget
        most = max(self.view.factor**2, min(budget.max_pixels, self.view.max_pixels))
        least = min(most, max(budget.min_pixels, self.view.min_pixels))
        return ViewBudget(least, most, self.view.factor)


_QWEN2 = ViewBudget(56 * 56, 16384 * DEFAULT_FACTOR**2)
_QWEN3 = ViewBudget(256 * 256, 4096 * 4096, 32)

FAMILIES: Registry[ModelFamily] = Registry("model family")
"""Every family by its ``model_type``; sizes are those of the models as they were published."""


def register_family(family: ModelFamily) -> ModelFamily:
    """Make a model family known by its ``model_type`` and by the names of its models.

    Raises:
        UsageError: A family of the package has that ``model_type``.
    """
    return FAMILIES.register(family.model_type, family)


def _architecture(name: str) -> Architecture:
    """Return one of those in ``transformers/architecture.py``, by the name of the function that makes it."""
    made: Architecture = getattr(import_module("deepeyes_env.agents.transformers.architecture"), name)()
    return made


for _family in (
    # Qwen2-VL (arXiv 2409.12191, section 2.2) writes thousandths; Qwen2.5-VL (arXiv 2502.13923) pixels of what its
    # processor made of the image; Qwen3-VL and InternVL thousandths again. DeepEyes and DeepEyesV2 are Qwen2.5-VL.
    ModelFamily("qwen2_vl", "norm1000", _QWEN2, ("qwen2vl",), partial(_architecture, "qwen2_vl")),
    ModelFamily("qwen2_5_vl", "view", _QWEN2, ("qwen25vl", "deepeyes"), partial(_architecture, "qwen2_5_vl")),
    ModelFamily("qwen3_vl", "norm1000", _QWEN3, ("qwen3vl",), partial(_architecture, "qwen3_vl")),
    ModelFamily("qwen3_vl_moe", "norm1000", _QWEN3),
    ModelFamily("internvl", "norm1000", names=("internvl",)),
    ModelFamily("internvl_chat", "norm1000"),
):
    register_family(_family)
FAMILIES.protect()


def local_families() -> tuple[str, ...]:
    """Return the ``model_type`` of each family whose models are run here: they generate, and can be trained."""
    return tuple(family.model_type for family in FAMILIES.values() if family.architecture is not None)


def family_of(model: str | Path, frame: Frame | None = None) -> ModelFamily:
    """Return the family of a model.

    Args:
        model: A model directory, or the name of a model behind an endpoint.
        frame: Coordinate frame that it writes boxes in, where that is not its family's: it was trained otherwise.

    Raises:
        UsageError: The family cannot be told, or ``frame`` is no frame.
    """
    if frame is not None:
        check_frame_name(frame)
    family = _of_directory(Path(model)) if (Path(model) / "config.json").is_file() else _of_name(str(model))
    if family is None:
        raise UsageError(
            f"model {str(model)!r}: the coordinates in which it writes boxes are not known; say so by "
            f"frame={'|'.join(FRAMES)} (known families: {', '.join(FAMILIES)})"
        )
    return family if frame is None else replace(family, frame=frame)


def frame_of(model: str | Path, frame: Frame | None = None) -> Frame:
    """Return the coordinate frame in which a model writes boxes: ``frame`` if given, else that of its family.

    Raises:
        UsageError: No frame is given, and the family cannot be told.
    """
    return frame if frame in FRAMES else family_of(model, frame).frame


def _of_name(name: str) -> ModelFamily | None:
    """Return the family whose part of the name is the longest; of equal ones the one registered last, a user's own."""
    letters = letters_and_digits(name)
    parts = [(letters_and_digits(part), family) for family in FAMILIES.values() for part in family.names]
    found = [(len(part), number) for number, (part, _) in enumerate(parts) if part and part in letters]
    return parts[max(found)[1]][1] if found else FAMILIES.find(name)


def _of_directory(folder: Path) -> ModelFamily | None:
    family = FAMILIES.find(str(_read(folder / "config.json").get("model_type")))
    if family is None or family.view is None:
        return family
    processor = _read(folder / "processor_config.json").get("image_processor")  # as transformers 5 saves it
    settings = _read(folder / "preprocessor_config.json") or (processor if isinstance(processor, dict) else {})
    size = settings.get("size") or {}
    least = settings.get("min_pixels") or size.get("shortest_edge") or family.view.min_pixels
    most = settings.get("max_pixels") or size.get("longest_edge") or family.view.max_pixels
    factor = settings.get("patch_size", 0) * settings.get("merge_size", 0) or family.view.factor
    return replace(family, view=ViewBudget(least, most, factor))


def read_model_file(path: Path) -> dict[str, Any]:
    """Read ``config.json`` or another such file of a model's folder.

    Raises:
        DataError: It holds no JSON object.
    """
    try:
        return parse_object(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: {error}; download the model again") from error


def _read(path: Path) -> dict[str, Any]:
    return read_model_file(path) if path.is_file() else {}


@lru_cache(maxsize=4096)
def _tiles(size: Size) -> int:
    """Return how many tiles InternVL cuts an image into (arXiv 2404.16821): the grid of the nearest side ratio.

    Of equally near grids the later one is taken if the image fills more than half of it. An image of several tiles is
    also shown as a whole.
    """
    width, height = size
    best, nearest = (1, 1), float("inf")
    for columns, rows in _grids():
        distance = abs(width / height - columns / rows)
        fills = width * height > 0.5 * TILE * TILE * columns * rows
        if distance < nearest or (distance == nearest and fills):
            best, nearest = (columns, rows), distance
    tiles = best[0] * best[1]
    return tiles + (tiles > 1)


@lru_cache(maxsize=1)
def _grids() -> tuple[tuple[int, int], ...]:
    sides = range(1, MOST_TILES + 1)
    grids = [(columns, rows) for columns in sides for rows in sides if columns * rows <= MOST_TILES]
    by_size: Callable[[tuple[int, int]], int] = lambda grid: grid[0] * grid[1]  # noqa: E731
    return tuple(sorted(grids, key=by_size))
