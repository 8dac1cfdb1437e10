"""The option ``--max-pixels``."""

from __future__ import annotations

from deepeyes_env.errors import UsageError
from deepeyes_env.images import ViewBudget


def view_budget(max_pixels: int) -> ViewBudget:
    """Return the budget that shows images at no more than ``max_pixels`` pixels.

    Raises:
        UsageError: ``max_pixels`` is less than one square of a processor.
    """
    default = ViewBudget()
    if max_pixels < default.factor**2:
        raise UsageError(f"--max-pixels {max_pixels}: must be at least {default.factor**2}")
    return ViewBudget(min_pixels=min(default.min_pixels, max_pixels), max_pixels=max_pixels)
