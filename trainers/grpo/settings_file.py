"""Settings as they are written: a YAML file, and ``name=value`` on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deepeyes_env.errors import DataError, UnknownNameError, UsageError
from deepeyes_env.registry import did_you_mean

PRESETS = Path(__file__).parent / "presets"
"""Folder of the settings files that come with the package."""


def read_settings(overrides: Sequence[str], path: Path | None, presets: Path = PRESETS) -> dict[str, Any]:
    """Return the settings of a file or preset with what is overridden, nested.

    Args:
        overrides: ``name=value``, nested names with dots.
        path: A YAML file, or the name of a preset; ``None`` for no file.
        presets: Folder of the presets.

    Raises:
        UnknownNameError: There is no such file, and no such preset.
        UsageError: The file is a folder, or an override is not ``name=value``.
        DataError: The file holds no settings.
    """
    settings = {} if path is None else read_settings_file(path, presets)
    for override in overrides:
        settings = merged(settings, parse_override(override))
    return settings


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with others laid over them."""
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def read_settings_file(path: Path, presets: Path = PRESETS) -> dict[str, Any]:
    """Read settings from a YAML file, or from the preset of that name.

    Args:
        path: The file, or the preset's name.
        presets: Folder of the presets.

    Raises:
        UnknownNameError: There is no such file, and no such preset.
        UsageError: It is a folder.
        DataError: It is not UTF-8, not YAML, or holds no settings.
    """
    preset = presets / f"{path}.yaml"
    path = preset if preset.is_file() else path
    if path.is_dir():
        raise UsageError(f"configuration {str(path)!r} is a folder; give a file of settings in it, such as config.yaml")
    try:
        settings = _from_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = did_you_mean(str(path), sorted(preset.stem for preset in presets.glob("*.yaml")))
        raise UnknownNameError(
            f"configuration {str(path)!r} cannot be read: {error.strerror}; or name a preset: {known}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"configuration {str(path)!r} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8"
        ) from error
    except ValueError as error:
        raise DataError(f"configuration {str(path)!r} is not YAML: {error}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise DataError(f"configuration {str(path)!r} is not a mapping of settings")
    return settings


def _from_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_override(override: str) -> dict[str, Any]:
    """Return ``name=value`` as nested settings; names have dots, values are YAML.

    Raises:
        UsageError: There is no name or no ``=``, or the value is not YAML.
    """
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise UsageError(f"{override!r} is not key=value; for example rollout.prompts=16")
    try:
        nested = _from_yaml(value)
    except ValueError as error:
        raise UsageError(f"{override!r}: the value is not YAML: {error}") from error
    for part in reversed(name.split(".")):
        nested = {part: nested}
    return dict(nested)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Write settings as YAML."""
    return str(yaml.safe_dump(dict(settings), sort_keys=False))
