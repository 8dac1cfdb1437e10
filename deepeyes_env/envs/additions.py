"""Additions: the toolboxes and rubrics that this process knows and another one does not, and how they get there."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from deepeyes_env.envs.toolbox import TOOLBOXES, Toolbox, ToolboxId
from deepeyes_env.registry import Registry, load_plugins, loaded_plugins
from deepeyes_env.rewards.presets import RUBRICS
from deepeyes_env.rewards.rubric import BaseRubric

logger = logging.getLogger(__name__)

_REGISTRIES: Mapping[str, Registry[Any]] = {"toolbox": TOOLBOXES, "rubric": RUBRICS}


@dataclass(frozen=True)
class Additions:
    """Toolboxes and rubrics that neither the package nor a plugin brings.

    Attributes:
        toolboxes: Toolboxes by name.
        rubrics: Rubrics by name.
    """

    toolboxes: Mapping[str, Toolbox]
    rubrics: Mapping[str, BaseRubric]

    @classmethod
    def here(cls) -> Additions:
        """Return those of this process."""
        return cls(TOOLBOXES.additions(), RUBRICS.additions())

    def register(self) -> None:
        """Make them known in this process."""
        for name, toolbox in self.toolboxes.items():
            TOOLBOXES.register(name, toolbox)
        for name, rubric in self.rubrics.items():
            RUBRICS.register(name, rubric)


@dataclass(frozen=True)
class Parcel:
    """What an environment id takes along to another process.

    Attributes:
        plugins: The plugins that this process has loaded.
        items: Each addition as its kind, its name and its pickle.
    """

    plugins: tuple[str, ...]
    items: tuple[tuple[str, str, bytes], ...]

    @classmethod
    def packed(cls) -> Parcel:
        """Pack the additions of this process; what cannot be pickled is logged and left out."""
        items = (
            (kind, name, pickled)
            for kind, registry in _REGISTRIES.items()
            for name, value in registry.additions().items()
            if (pickled := _pickled(kind, name, value)) is not None
        )
        return cls(loaded_plugins(), tuple(items))

    def unpack(self) -> None:
        """Make known in this process what is not known yet."""
        load_plugins(self.plugins)
        for kind, name, pickled in self.items:
            registry = _REGISTRIES[kind]
            if name not in registry:
                registry.register(name, pickle.loads(pickled))


def arrived(name: str, parcel: Parcel) -> ToolboxId:
    """Unpickle a ``ToolboxId``."""
    parcel.unpack()
    return ToolboxId(name)


def _pickled(kind: str, name: str, value: object) -> bytes | None:
    try:
        return bytes(cloudpickle.dumps(value))  # by value where the other process could not import it
    except Exception as error:
        logger.warning("the %s %r cannot be sent to other processes: %s: %s", kind, name, type(error).__name__, error)
        return None
