"""Optional dependencies: imported when they are needed, and if they are missing, how to install them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from deepeyes_env.errors import MissingExtraError

DISTRIBUTION = "deepeyes-env"
_PACKAGE = __name__.partition(".")[0]
_ROOT = Path(__file__).parents[1]


def import_extra(module: str, extra: str) -> Any:
    """Import a module of an optional dependency and return it.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra(extra):
        return importlib.import_module(module)


def require_extra(extra: str, *packages: str) -> None:
    """Say at the top of a package, without importing them, which optional packages its modules import.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    for package in packages:
        if not _is_installed(package):
            raise missing_extra(package, extra)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say of imports in this block that they need an extra.

    A module of this package that cannot be found is a bug, and is left to show itself as one. Of blocks within each
    other the outermost names its extra: it is what the user asked for, and has what the others need.

    Raises:
        MissingExtraError: A package of that extra is not installed, or is but cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == _PACKAGE:
            raise
        if _is_installed(package):
            raise missing_extra(package, extra, f"is installed, but: {error}") from error
        raise missing_extra(package, extra) from error


def missing_extra(package: str, extra: str, problem: str = "is not installed") -> MissingExtraError:
    """Return the error for a missing optional package, with the command that brings it."""
    return MissingExtraError(f"{package} {problem}; run: {install_command(extra)}", name=package)


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation, wherever it came from."""
    installed = installation()
    if installed is None and (_ROOT / "setup.py").is_file():  # imported from a checkout
        return f"{_pip()} install -e {quote(f'{_ROOT}[{extra}]')}"
    origin = json.loads((installed and installed.read_text("direct_url.json")) or "{}")
    return f"{_pip()} install {_target(origin, extra) or ' '.join(map(quote, _needs(installed, extra)))}"


def installation() -> metadata.Distribution | None:
    """Return this package's record among the installed ones; what a build left in a checkout is none."""
    found = metadata.distributions(name=DISTRIBUTION)
    return next((each for each in found if each.read_text("METADATA") is not None), None)


def _target(origin: Mapping[str, Any], extra: str) -> str | None:
    """Return what to install, from the record of where the installation came from; ``None`` if that file is gone."""
    url = str(origin.get("url", ""))
    if not url:
        return quote(f"{DISTRIBUTION}[{extra}]")
    if url.startswith("file:") and "vcs_info" not in origin:
        path = Path(url2pathname(urlsplit(url).path))
        if not path.exists():
            return None
        if "dir_info" in origin:
            editable = "-e " if origin["dir_info"].get("editable") else ""
            return editable + quote(f"{path}[{extra}]")
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        url = f"{vcs['vcs']}+{url}@{vcs.get('requested_revision') or vcs['commit_id']}"
    if "subdirectory" in origin:
        url += f"#subdirectory={origin['subdirectory']}"
    return quote(f"{DISTRIBUTION}[{extra}] @ {url}")


def _needs(installed: metadata.Distribution | None, extra: str) -> Iterator[str]:
    """Yield the packages of an extra, as the installation's metadata names them."""
    for need in (installed and installed.requires) or ():
        package, _, marker = need.partition(";")
        if marker.replace("'", '"').replace(" ", "") == f'extra=="{extra}"':
            yield package.strip()


def _pip() -> str:
    """Return this environment's pip: ``pip`` alone may be that of another one."""
    found = shutil.which("pip")
    return "pip" if found and Path(found).parent == Path(sys.executable).parent else f"{quote(sys.executable)} -m pip"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module put together by hand, as notebooks and tests do
        return True
