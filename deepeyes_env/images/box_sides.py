"""The least sides of boxes in native pixels; tools, built-in tasks, wrappers and agents keep to the same numbers."""

from __future__ import annotations

MIN_SIDE_V2 = 31
"""``VisualToolbox-v2`` accepts a box only if its shorter side exceeds 30 pixels: no other variant asks for more."""

MIN_BOX_SIDE = MIN_SIDE_V2 + 1
"""The least, in even numbers, that every variant accepts of a box in whole native pixels."""

MIN_ZOOM_SIDE = MIN_SIDE_V2 + 3
"""The least that every variant accepts of a box written in the policy's coordinates: the rest is for rounding."""
