"""From a typed function to a JSON schema, and from a policy's JSON to checked arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import docstring_parser
import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json

from deepeyes_env.errors import ArgumentError, UsageTypeError
from deepeyes_env.images import Image
from deepeyes_env.images.frames import BBox
from deepeyes_env.tools.context import ToolContext

BOX_DESCRIPTION = (
    "The bounding box as [x1, y1, x2, y2]: (x1, y1) is its top-left corner and (x2, y2) its bottom-right corner."
)
_BOX_FIELD = Annotated[list[float], pydantic.Field(min_length=4, max_length=4, description=BOX_DESCRIPTION)]
_INJECTED: dict[Any, Callable[[ToolContext], Any]] = {
    Image: lambda context: context.image,
    tuple[Image, ...]: lambda context: context.images,
    ToolContext: lambda context: context,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """Arguments ready for the call.

    Attributes:
        values: Keyword arguments, the environment's own ones included.
        box: The box among them in native pixels, if there is exactly one parameter of type ``BBox``.
    """

    values: dict[str, Any]
    box: BBox | None


class ToolSignature:
    """The parameters of a tool: which ones the policy writes, which ones the environment fills in.

    Args:
        function: The typed function or bound method.
        name: Name of the tool, for errors.

    Attributes:
        description: First paragraph of the docstring.
        parameters: JSON schema of the arguments that the policy writes.

    Raises:
        UsageTypeError: A parameter has no type hint, is variadic, or there is no docstring.
    """

    def __init__(self, function: Callable[..., Any], *, name: str) -> None:
        doc = docstring_parser.parse(inspect.getdoc(function) or "")
        self.description = " ".join(filter(None, (doc.short_description, doc.long_description))).replace("\n", " ")
        if not self.description:
            raise UsageTypeError(f"tool {name!r}: needs a docstring; it is what the policy reads")
        self.name = name
        hints = get_type_hints(function, include_extras=True)
        described = {param.arg_name: " ".join((param.description or "").split()) for param in doc.params}
        self._injected: list[tuple[str, Callable[[ToolContext], Any]]] = []
        self._boxes: list[str] = []
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(function).parameters.values():
            self._add(parameter, hints, described, fields)
        config = pydantic.ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
        self._model = pydantic.create_model(name, __config__=config, **fields)
        self._validate = self._model.__pydantic_validator__.validate_json
        self.parameters = self._model.model_json_schema(schema_generator=_PlainSchema)
        self.parameters.pop("title", None)

    def _add(
        self,
        parameter: inspect.Parameter,
        hints: Mapping[str, Any],
        described: Mapping[str, str],
        fields: dict[str, Any],
    ) -> None:
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise UsageTypeError(f"tool {self.name!r}: parameter {name!r} must be a named parameter")
        if name not in hints:
            raise UsageTypeError(
                f"tool {self.name!r}: parameter {name!r} needs a type hint; the JSON schema comes from it"
            )
        hint = hints[name]
        for injected, fill in _INJECTED.items():
            if hint == injected:
                self._injected.append((name, fill))
                return
        if hint in (BBox, BBox | None):
            self._boxes.append(name)
            hint = _BOX_FIELD if hint == BBox else _BOX_FIELD | None
        default = ... if parameter.default is parameter.empty else parameter.default
        description = described.get(name)
        fields[name] = (hint, pydantic.Field(default, description=description) if description else default)

    def bind(self, arguments: Mapping[str, Any], context: ToolContext) -> Bound:
        """Check the policy's arguments and add the environment's own.

        Raises:
            ArgumentError: A required argument is missing, has the wrong type, or a box does not fit the image. Strings
                are not taken for numbers, and NaN and Infinity are not numbers. Unknown arguments are ignored.
        """
        try:
            checked = self._validate(to_json(arguments, fallback=_without_numpy))
        except pydantic.ValidationError as error:
            raise self._refused(error) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(f"the arguments of {self.name} are not valid JSON ({type(error).__name__})") from None
        values: dict[str, Any] = checked.__dict__.copy()
        box: BBox | None = None
        for name in self._boxes:
            if values[name] is not None:
                values[name] = box = context.native_box(values[name], name)
        for name, fill in self._injected:
            values[name] = fill(context)
        return Bound(values, box if len(self._boxes) == 1 else None)

    def _refused(self, error: pydantic.ValidationError) -> ArgumentError:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:3]) or "arguments"
        usage = ", ".join(
            f'"{name}": {_usage(schema)}' for name, schema in self.parameters.get("properties", {}).items()
        )
        return ArgumentError(f"{where}: {first['msg'][:200]}; the arguments of {self.name} are {{{usage}}}")


def _without_numpy(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


class _PlainSchema(GenerateJsonSchema):
    """JSON schema without the titles that pydantic adds; policies need not read them."""

    def get_title_from_name(self, name: str) -> str:
        """Give no title to a field."""
        return ""

    def generate(self, schema: Any, mode: Any = "validation") -> dict[str, Any]:
        """Return the JSON schema, without empty titles."""
        return dict(_without_empty_titles(super().generate(schema, mode)))


def _without_empty_titles(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_empty_titles(v) for k, v in node.items() if not (k == "title" and v == "")}
    return node


def is_box_schema(schema: Mapping[str, Any]) -> bool:
    """Whether the JSON schema of a parameter describes a box: exactly four numbers."""
    return schema.get("type") == "array" and schema.get("minItems") == schema.get("maxItems") == 4


def _usage(schema: Mapping[str, Any]) -> str:
    if is_box_schema(schema):
        return "[x1, y1, x2, y2]"
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    return f"<{schema.get('type', 'value')}>"
