"""Optional dependencies: imported when they are needed, and if they are missing, how to install them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from deepeyes_env.errors import MissingExtraError

DISTRIBUTION = "deepeyes-env"
_PACKAGE = __name__.partition(".")[0]


def import_extra(module: str, extra: str) -> Any:
    """Import a module of an optional dependency and return it.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra(extra):
        return importlib.import_module(module)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say of imports in this block that they need an extra.

    A module of this package that cannot be found is a bug, and is left to show itself as one.

    Raises:
        MissingExtraError: A package of that extra is not installed.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == _PACKAGE:
            raise
        raise missing_extra(package, extra) from error


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """Return the error for a missing optional package, with the command that brings it."""
    return MissingExtraError(f"{package} is not installed; run: {install_command(extra)}")


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation, whether from an index, a checkout or a file."""
    try:
        told = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:  # imported from a checkout that is not installed
        told = None
    origin = json.loads(told) if told else {}
    url = str(origin.get("url", ""))
    if origin.get("dir_info", {}).get("editable") and url.startswith("file://"):
        from urllib.request import url2pathname

        return f"pip install -e '{url2pathname(url.removeprefix('file://'))}[{extra}]'"
    return f"pip install '{DISTRIBUTION}[{extra}]{f' @ {url}' if url else ''}'"
