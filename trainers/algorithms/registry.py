"""What is known by name: advantage estimators and policy losses, ours and a user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from deepeyes_env.names import did_you_mean

Function = TypeVar("Function", bound=Callable[..., object])


class Registry(Generic[Function]):
    """Functions by name.

    Args:
        kind: What they are, for error messages.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: dict[str, Function] = {}

    def register(self, name: str) -> Callable[[Function], Function]:
        """Return a decorator that makes a function known by a name.

        Raises:
            ValueError: Another function has that name.
        """

        def decorate(function: Function) -> Function:
            before = self._known.get(name)
            if before is not None and _identity(before) != _identity(function):
                raise ValueError(f"{self._kind} {name!r} is taken by {before.__module__}; choose another name")
            self._known[name] = function
            return function

        return decorate

    def get(self, name: str) -> Function:
        """Return the function of a name.

        Raises:
            ValueError: There is none; the message names the nearest and all known ones.
        """
        if name in self._known:
            return self._known[name]
        raise ValueError(f"unknown {self._kind} {name!r}; {did_you_mean(name, self._known)}")


def _identity(function: Callable[..., object]) -> tuple[str, str]:
    """Name a function by where it is written, so that a module may be imported twice."""
    return (function.__module__, function.__qualname__)
