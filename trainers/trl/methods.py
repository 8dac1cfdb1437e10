"""From a tool's JSON schema to a typed method, of whose name, signature and docstring TRL makes a schema again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

_KINDS: Mapping[str, Any] = {"string": str, "number": float, "integer": int, "boolean": bool, "object": dict}


def method_of(schema: Mapping[str, Any], call: Callable[[Any, str, dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return a method that stands for a tool.

    It takes whatever arguments the policy wrote, so that a wrong one is answered by the environment, in its own words.

    Args:
        schema: The tool as OpenAI-style JSON.
        call: Called with the object, the name of the tool, and the arguments.
    """
    function = schema["function"]
    name, written = function["name"], function["parameters"]
    required = set(written.get("required", ()))
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    lines = []
    for parameter, described in written.get("properties", {}).items():
        optional = parameter not in required
        default = described.get("default") if optional else inspect.Parameter.empty
        hint = type_of(described)
        parameters.append(
            inspect.Parameter(
                parameter,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=hint | None if optional and default is None else hint,
            )
        )
        lines.append(f"    {parameter}: {' '.join(described.get('description', parameter).split())}")
    parameters.sort(key=lambda each: each.default is not inspect.Parameter.empty)  # defaults stand last; stable

    def method(self: Any, /, **arguments: Any) -> Any:
        return call(self, name, arguments)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = "\n".join([function["description"], *(["", "Args:", *lines] if lines else [])])
    method.__signature__ = inspect.Signature(parameters, return_annotation=list)  # type: ignore[attr-defined]
    method.__annotations__ = {each.name: each.annotation for each in parameters[1:]}
    return method


def type_of(schema: Mapping[str, Any]) -> Any:
    """Return the type hint of a JSON schema; ``Any`` for what has no simple one."""
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if schema.get("type") == "array":
        return list[type_of(schema.get("items", {}))]  # type: ignore[misc]
    return _KINDS.get(str(schema.get("type")), Any)
