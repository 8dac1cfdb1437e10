"""Prompt templates as files: YAML, read once and recorded by what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from deepeyes_env.errors import DataError, DeepEyesError, UsageTypeError
from deepeyes_env.extras import import_extra
from deepeyes_env.protocols import PromptTemplate

PromptTemplateLike: TypeAlias = PromptTemplate | Mapping[str, str] | str | Path
"""A template, its parts by name, or a YAML file of them."""


def get_prompt_template(template: PromptTemplateLike | None) -> PromptTemplate:
    """Return a template; one that changes nothing for ``None``.

    Raises:
        DataError: The file cannot be read, is no YAML, or is no template; the message names it.
        UnknownNameError, UsageError: A part is unknown or wrong.
        UsageTypeError: ``template`` is of another type.
        MissingExtraError: It is a file, and pyyaml is not installed.
    """
    if template is None:
        return PromptTemplate()
    if isinstance(template, PromptTemplate):
        return template
    if isinstance(template, Mapping):
        return PromptTemplate.of(template)
    if isinstance(template, str | Path):
        return read_prompt_template(template)
    raise UsageTypeError(f"prompt_template={template!r:.60}: give a YAML file, its parts by name, or a PromptTemplate")


def read_prompt_template(path: str | Path) -> PromptTemplate:
    """Read a template from a YAML file.

    Raises:
        DataError: It cannot be read, is no YAML, or is no template; the message names the file.
        MissingExtraError: pyyaml is not installed.
    """
    yaml = import_extra("yaml", "cli")
    try:
        parts = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"prompt template {str(path)!r} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"prompt template {str(path)!r} is not YAML: {error}") from error
    if not isinstance(parts, dict) or not parts:
        raise DataError(f"prompt template {str(path)!r} is not a mapping of parts: system, question, observation ...")
    try:
        return PromptTemplate.of(parts)
    except DeepEyesError as error:
        raise DataError(f"{path}: {error}") from error


def recordable(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of environments with the template by what it says, not by where it lies: so it is recorded.

    Raises:
        DataError, UsageError: The template cannot be read, or is wrong.
    """
    if env_kwargs.get("prompt_template") is None:
        return dict(env_kwargs)
    return {**env_kwargs, "prompt_template": get_prompt_template(env_kwargs["prompt_template"]).parts()}
