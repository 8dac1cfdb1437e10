"""The list of all settings of a training run: names, types, values and what they mean, from the sections themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from deepeyes_env.trainers.grpo.config import Config
from deepeyes_env.trainers.grpo.sections import Section


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting.

    Attributes:
        name: Its full name, as it is given on the command line.
        kind: What it takes.
        value: Its value, as a settings file writes it.
        about: What it means.
    """

    name: str
    kind: str
    value: str
    about: str


def list_settings(config: Config) -> list[Setting]:
    """Return all settings of a run with their values, section by section."""
    return list(_settings(config, ""))


def _settings(section: Section, prefix: str) -> Iterator[Setting]:
    about = attribute_docs(type(section))
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield Setting(f"{prefix}{name}", kind_of(field.annotation), _plain(value), about[name])


def attribute_docs(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute, on one line."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        begun = re.match(r"    (\w+): (.*)", line)
        if begun:
            name = begun[1]
            found[name] = [begun[2]]
        elif line.startswith("        ") and found:
            found[name].append(line.strip())
    return {name: " ".join(lines).replace("``", "") for name, lines in found.items()}


def kind_of(annotation: Any) -> str:
    """Return a type hint in the words of a settings file: ``a | b`` for choices, ``null`` for none."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(parts[0])
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (UnionType, Union):
        return " | ".join(map(kind_of, parts))
    if origin is dict:
        return f"{{{': '.join(map(kind_of, parts))}}}"
    if origin is tuple:
        return f"[{', '.join('...' if part is Ellipsis else kind_of(part) for part in parts)}]"
    if annotation is NoneType:
        return "null"
    return {str: "text", Path: "path", bool: "true | false", int: "integer", float: "number"}[annotation]


def _plain(value: Any) -> str:
    """Write a value as it is written in a settings file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
