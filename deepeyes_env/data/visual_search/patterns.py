"""``pattern_search``: the easiest built-in task, which the tiny policy plays: read the pattern on a coloured square."""

from __future__ import annotations

from deepeyes_env.data.visual_search.dataset import Split, VisualSearch
from deepeyes_env.images.frames import Size
from deepeyes_env.images.views import ViewBudget

VIEW = ViewBudget(112 * 112, 112 * 112)
SIZE = (448, 448)


def pattern_search(
    split: Split = "train",
    *,
    length: int = 10_000,
    seed: int = 0,
    objects: tuple[int, int] = (2, 3),
    easy: float = 0.3,
    size: Size = SIZE,
    view: ViewBudget = VIEW,
) -> VisualSearch:
    """Return scenes of squares with patterns; in the hard ones the patterns cannot be read without a zoom.

    Args:
        split: ``train`` or ``test``; scenes of the two are never equal.
        length: Number of scenes.
        seed: Another seed, other scenes. The shipped policy was built from seeds of 9,000 and above.
        objects: Least and largest number of squares.
        easy: Share of scenes that can be read without a zoom.
        size: ``(width, height)`` of a scene in pixels.
        view: View budget; a detail is hidden where the view has a quarter of the scene's width and height.
    """
    return VisualSearch(
        split=split,
        length=length,
        seed=seed,
        size=size,
        view=view,
        tasks=("attribute",),
        objects=objects,
        shapes=("square",),
        clutter=0,
        easy=easy,
    )
