"""One way to register and to look up anything by name, and the plugins that register more.

Every kind of thing that has names has one ``Registry``. A plugin is a module that registers things when it is
imported. It is named on the command line (``--plugin MODULE``), or it belongs to an installed package that declares it
in the entry-point group ``ENTRY_POINT_GROUP``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from deepeyes_env.errors import DeepEyesError, UnknownNameError, UsageError, UsageTypeError
from deepeyes_env.telling import quoted

ENTRY_POINT_GROUP = "deepeyes_env.plugins"
"""An installed package declares ``my_name = "my_package.my_module"`` in this group."""

T = TypeVar("T")
V = TypeVar("V")
_LATER: Any = object()
logger = logging.getLogger(__name__)


class Registry(Generic[T]):
    """Things of one kind by name.

    Args:
        kind: What they are, in singular, for error messages.
        spelling: Brings a name into the form in which two spellings of it are equal; by default a name is as it is.
        of: The class of which all of them are instances; by default anything may be registered.
    """

    def __init__(self, kind: str, *, spelling: Callable[[str], str] = str, of: type[T] | None = None) -> None:
        self.kind = kind
        self._of: type[Any] = object if of is None else of
        self._spelling = spelling
        self._known: dict[str, tuple[str, T]] = {}
        self._protected: set[str] = set()
        self._of_plugins: set[str] = set()

    @overload
    def register(self, name: str) -> Callable[[V], V]: ...

    @overload
    def register(self, name: str, value: V) -> V: ...

    def register(self, name: str, value: Any = _LATER) -> Any:
        """Make a thing known by a name; with the name alone, return a decorator that does.

        Registering a name of one's own again replaces what it named, so that a notebook's cell can be run twice.

        Raises:
            UsageError: The name is one of the package's own, or is empty.
            UsageTypeError: It is no name, or the thing is of another class.
        """
        if not isinstance(name, str):
            raise UsageTypeError(f"the name of a {self.kind} is text, not {type(name).__name__}: give it first")
        if value is _LATER:
            return lambda decorated: self.register(name, decorated)
        if not isinstance(value, self._of):
            wanted, got = self._of.__name__, value.__name__ if isinstance(value, type) else type(value).__name__
            raise UsageTypeError(f"the {self.kind} {name!r} must be an instance of {wanted}, and {got} is none")
        key = self._spelling(name)
        if not key:
            raise UsageError(f"the {self.kind} {name!r}: this is no name; give it one with letters or digits")
        if key in self._protected:
            raise UsageError(f"the {self.kind} {name!r} belongs to the package; choose another name")
        self._known[key] = (name, value)
        (self._of_plugins.add if _loading.get() else self._of_plugins.discard)(key)
        return value

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Forget on leaving what was registered within, as a test or a notebook's cell may want."""
        before = dict(self._known)
        try:
            yield
        finally:
            self._known = before

    def protect(self) -> None:
        """Keep the names known so far from being registered again: they are the package's own."""
        self._protected.update(self._known)

    def is_builtin(self, name: str) -> bool:
        """Whether a name is one of the package's own."""
        return self._spelling(name) in self._protected

    def get(self, name: str) -> T:
        """Return what a name stands for.

        Raises:
            UnknownNameError: Nothing; the message has the nearest name and all known ones.
        """
        found = self.find(name)
        if found is None:
            raise unknown_name(self.kind, name, self.names())
        return found

    def find(self, name: str) -> T | None:
        """Return what a name stands for, or ``None``."""
        key = self._spelling(name)
        if key not in self._known:
            load_installed_plugins()
        entry = self._known.get(key)
        return None if entry is None else entry[1]

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order in which they were registered."""
        load_installed_plugins()
        return tuple(name for name, _ in self._known.values())

    def values(self) -> tuple[T, ...]:
        """Return what all names stand for, in the order in which they were registered."""
        load_installed_plugins()
        return tuple(value for _, value in self._known.values())

    def additions(self) -> dict[str, T]:
        """Return by name what neither the package nor a plugin registered.

        That is what another process has to be told once it has loaded the same plugins.
        """
        brought = self._protected | self._of_plugins
        return {name: value for key, (name, value) in self._known.items() if key not in brought}

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def letters_and_digits(name: str) -> str:
    """A spelling for ``Registry``: case, blanks and punctuation do not matter."""
    return "".join(character for character in name.lower() if character.isalnum())


def nearest(name: str, known: Iterable[str], *, n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that a wrong one is near to, the nearest first; case and punctuation do not matter.

    Args:
        name: What was asked for.
        known: The names that there are.
        n: How many to return at most.
        cutoff: How alike they have to be, from 0 to 1.
    """
    by_letters = {letters_and_digits(each): each for each in sorted(known)}
    return [by_letters[near] for near in difflib.get_close_matches(letters_and_digits(name), by_letters, n, cutoff)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for an error message: the nearest known name, if one is near, and all of them.

    Args:
        name: What was asked for.
        known: The names that there are.
    """
    names = sorted(known)
    near = nearest(name, names)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(names)}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error to raise for a name that nothing has.

    Args:
        kind: What was looked for, in singular.
        name: What was asked for.
        known: The names that there are.
    """
    return UnknownNameError(f"unknown {kind} {quoted(name)}; {did_you_mean(name, known)}")


_plugins: dict[str, None] = {}
_loading: ContextVar[bool] = ContextVar("_loading", default=False)


@contextmanager
def _as_plugin() -> Iterator[None]:
    """Remember of what is registered meanwhile that a plugin brought it."""
    before = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(before)


def load_plugins(names: Iterable[str]) -> None:
    """Import plugins, each once.

    Args:
        names: Modules by name, looked for in the working directory too; or paths of ``.py`` files.

    Raises:
        UsageError: There is no such module or file; or it failed, for the reason that is the error's cause.
    """
    for name in names:
        if name in _plugins:
            continue
        try:
            with _as_plugin():
                if name.endswith(".py"):
                    _import_file(Path(name))
                else:
                    _import_module(name)
        except DeepEyesError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"plugin {name!r} could not be loaded: {reason}; mend it (deepeyes --debug shows where it failed)"
            ) from error
        _plugins[str(Path(name).absolute()) if name.endswith(".py") else name] = None


def loaded_plugins() -> tuple[str, ...]:
    """Return the plugins loaded so far, as ``load_plugins`` takes them in another process on this machine.

    Modules are named, files have their whole path. Plugins of installed packages are not among them: every process
    finds those by itself.
    """
    return tuple(_plugins)


def missing_plugins(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some plugins that are not loaded, compared by the names of their modules."""
    loaded = set(map(_module_name, _plugins))
    return tuple(name for name in names if _module_name(name) not in loaded)


def _module_name(plugin: str) -> str:
    return Path(plugin).stem if plugin.endswith(".py") else plugin


def _import_module(name: str) -> None:
    if "" in name.split("."):
        raise UsageError(
            f"plugin {name!r}: is no name of a module; give one such as my_package.my_module, or a .py file"
        )
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the plugin is there, and misses something itself
        raise UsageError(
            f"plugin {name!r}: there is no module {error.name!r}; install it, run from its folder, or give its file"
        ) from error
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        raise UsageError(f"plugin {name!r}: is a folder without __init__.py; name a module in it, or a .py file")


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"plugin {str(path)!r}: there is no such file")
    path = path.absolute()
    before = sys.modules.get(path.stem)
    if before is not None:
        if getattr(before, "__file__", None) == str(path):
            return
        raise UsageError(f"plugin {str(path)!r}: a module {path.stem!r} is loaded already; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin {str(path)!r}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


@cache
def load_installed_plugins() -> None:
    """Import what installed packages declare in ``ENTRY_POINT_GROUP``; one that fails is logged and left out."""
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            with _as_plugin():
                entry.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            logger.warning("the plugin %s (%s) could not be loaded: %s", entry.name, entry.value, reason, exc_info=True)
