"""The toolboxes by name: where data sets can look a name up without knowing what an environment is."""

from __future__ import annotations

from typing import Any

from deepeyes_env.registry import Registry, letters_and_digits

TOOLBOXES: Registry[Any] = Registry("toolbox", spelling=letters_and_digits)
"""``deepeyes_env.envs.toolbox.Toolbox`` by name; the original's spelling (``visual_toolbox_v2``) means the same."""
