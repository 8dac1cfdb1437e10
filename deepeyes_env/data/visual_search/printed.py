"""Objects whose pattern wants more than a closer look: it is faint, or it is turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.data.visual_search.hiding import Pattern
from deepeyes_env.data.visual_search.scene import Item, Scene


@dataclass(frozen=True, slots=True)
class FaintItem(Item):
    """An object with a pattern of few grey levels.

    Attributes:
        strength: Share of the contrast that patterns have otherwise.
    """

    strength: float

    def pattern(self, scene: Scene) -> tuple[Pattern, int, int]:
        """Return what is printed on the plate, and where it stands on the object; see ``Item.pattern``."""
        mark, x, y = Item.pattern(self, scene)
        return self.strength * mark, x, y


@dataclass(frozen=True, slots=True)
class TurnedItem(Item):
    """An object with a pattern that is turned about its middle.

    Attributes:
        angle: In degrees, clockwise.
    """

    angle: int

    def pattern(self, scene: Scene) -> tuple[Pattern, int, int]:
        """Return what is printed on the plate, and where it stands on the object; see ``Item.pattern``."""
        mark, x, y = Item.pattern(self, scene)
        image = PILImage.fromarray(mark.astype(np.float32))
        turned = np.asarray(image.rotate(-self.angle, PILImage.Resampling.BICUBIC), np.float64)
        return turned.clip(-1, 1), x, y
