"""plugins: modules of the user's that register toolboxes, rubrics, advantages and losses."""

from __future__ import annotations

import importlib
from collections.abc import Iterable


def import_plugins(names: Iterable[str]) -> None:
    """Import modules by name.

    Raises:
        ValueError: There is no such module.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the plugin is there, and misses something itself
            raise ValueError(
                f"env.plugins: there is no module {error.name!r}; install it, or name its folder in PYTHONPATH"
            ) from error
