"""The toolboxes by name: where data sets can look a name up without knowing what an environment is."""

from __future__ import annotations

from typing import Any

from deepeyes_env.registry import Registry, letters_and_digits

_ROWS_SAY = {"deepeyesv2": "deepeyesv2v0"}


def _spelling(name: str) -> str:
    spelled = letters_and_digits(name)
    return _ROWS_SAY.get(spelled, spelled)


TOOLBOXES: Registry[Any] = Registry("toolbox", spelling=_spelling)
"""``deepeyes_env.envs.toolbox.Toolbox`` by name; the original's spelling (``visual_toolbox_v2``) means the same, and so
does ``deepeyes_v2``, as rows of DeepEyesV2's data sets say, as ``DeepEyesV2-v0``."""
