"""fast_init: frozen dataclasses that are made several times in every step of an environment, made in half the time."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def fast_init(cls: type[T]) -> type[T]:
    """Give a frozen dataclass with slots an ``__init__`` that sets the slots themselves; stands above ``@dataclass``.

    The one that ``dataclasses`` writes has ``object.__setattr__`` find each attribute by its name, which takes twice as
    long as all the rest of it (CPython 3.11). This one has the same parameters, defaults and annotations, and calls
    ``__post_init__`` where there is one.
    """
    slow: Any = cls.__init__
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    with_default = names[len(names) - len(slow.__defaults__ or ()) :]
    defaults = dict(zip(with_default, slow.__defaults__ or (), strict=True))
    scope: dict[str, Any] = {}
    body = []
    for field in fields(cls):  # type: ignore[arg-type]
        name = value = field.name
        scope[f"_set_{name}"] = getattr(cls, name).__set__
        if field.default_factory is not MISSING:
            # The default is a mark of ``dataclasses`` that stands for what the factory makes.
            scope[f"_made_{name}"], scope[f"_mark_{name}"] = field.default_factory, defaults[name]
            value = f"_made_{name}() if {name} is _mark_{name} else {name}"
        body.append(f"_set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    exec(f"def __init__(self, {', '.join(names)}):\n  " + "\n  ".join(body), scope)
    fast = scope["__init__"]
    fast.__defaults__, fast.__annotations__ = slow.__defaults__, slow.__annotations__
    fast.__module__, fast.__qualname__, fast.__doc__ = slow.__module__, slow.__qualname__, slow.__doc__
    setattr(cls, "__init__", fast)  # noqa: B010
    return cls
