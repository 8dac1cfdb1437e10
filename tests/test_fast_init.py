"""fast_init: what is made fast is the same as what ``dataclasses`` makes."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from deepeyes_env.fast_init import fast_init


@dataclass(frozen=True, slots=True)
class Plain:
    """What both are.

    Attributes:
        name: A name.
        size: A size.
        facts: What else is known.
        seconds: A time, not compared.
    """

    name: str
    size: tuple[int, int] = (1, 2)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)


@fast_init
@dataclass(frozen=True, slots=True)
class Fast:
    """The same, made fast; and checked."""

    name: str
    size: tuple[int, int] = (1, 2)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        if not self.name:
            raise ValueError("no name")


def test_it_takes_what_the_ordinary_one_takes() -> None:
    assert inspect.signature(Fast) == inspect.signature(Plain)
    assert Fast.__init__.__annotations__ == Plain.__init__.__annotations__
    for values in (("a",), ("a", (3, 4)), ("a", (3, 4), {"b": 1}, 2.0)):
        assert repr(Fast(*values)) == repr(Plain(*values)).replace("Plain", "Fast")
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'name'"):
        Fast()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Fast("a", colour="red")  # type: ignore[call-arg]


def test_it_checks_and_stays_frozen() -> None:
    made = Fast("a", size=[3, 4])  # type: ignore[arg-type]
    assert made.size == (3, 4)
    with pytest.raises(ValueError, match="no name"):
        Fast("")
    with pytest.raises(FrozenInstanceError):
        made.name = "b"  # type: ignore[misc]


def test_factories_make_one_for_each() -> None:
    assert Fast("a").facts == {}
    assert Fast("a").facts is not Fast("a").facts
    given: dict[str, Any] = {}
    assert Fast("a", facts=given).facts is given


def test_copies_are_equal() -> None:
    made = Fast("a", (3, 4), {"b": 1}, 2.0)
    assert made == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == replace(made, seconds=5.0)
    assert replace(made, name="c") == Fast("c", (3, 4), {"b": 1})
