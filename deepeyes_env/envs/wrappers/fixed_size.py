"""FixedSizeObservation: one image of one size, for policies that are convolutional networks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from deepeyes_env.errors import UsageError
from deepeyes_env.images import Image
from deepeyes_env.images.ops import fit


class FixedSizeObservation(gym.ObservationWrapper[Image, Any, dict[str, Any]], gym.utils.RecordConstructorArgs):
    """Observe the image that was shown last, stretched to one size, and nothing else.

    At the start that is the view of the first image, then whatever the last successful call brought back: a call that
    fails and an answer bring no image, and the picture stays. The image is stretched, not padded, so that the unit
    coordinates of ``StructuredAction`` are fractions of the picture that the policy sees.

    The question is not part of the observation: use a data set that asks the same of every image, or read
    ``env.unwrapped.trajectory``.

    Observation: ``(height, width, 3)`` ``uint8``, RGB, a fresh array each time.

    Args:
        env: An environment whose observation holds ``images``.
        size: ``(height, width)`` of the observation in pixels, or one number for both.

    Raises:
        UsageError: A side is less than 1 pixel.
    """

    def __init__(self, env: gym.Env[dict[str, Any], Any], size: int | tuple[int, int]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, size=size)
        gym.ObservationWrapper.__init__(self, env)
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        if min(self.size) < 1:
            raise UsageError(f"FixedSizeObservation(size={size!r}): both sides must be at least 1 pixel")
        self.observation_space = gym.spaces.Box(0, 255, (*self.size, 3), np.uint8)
        self._shown: Image = np.zeros((*self.size, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Begin an episode and show its first image, to which all boxes refer."""
        observation: Any
        observation, info = self.env.reset(seed=seed, options=options)
        return self._show(observation["images"][0]), info

    def observation(self, observation: dict[str, Any]) -> Image:
        """Show the last image of an observation; without one, the same picture as before."""
        images = observation["images"]
        return self._show(images[-1]) if images else self._shown.copy()

    def _show(self, image: Image) -> Image:
        height, width = self.size
        self._shown = fit(image, (width, height), "exact")
        return self._shown.copy()
