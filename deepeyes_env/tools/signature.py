"""From a typed function to a JSON schema, and from a policy's JSON to checked arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeAlias, get_type_hints

import docstring_parser
import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json

from deepeyes_env.errors import ArgumentError, UsageTypeError
from deepeyes_env.images import Image
from deepeyes_env.images.frames import BBox
from deepeyes_env.protocols.protocol import quote
from deepeyes_env.tools.context import ToolContext

Unread: TypeAlias = Annotated[Any, pydantic.WithJsonSchema({"type": "string"})]
"""A parameter that the schema offers as text and that the tool does not read: whatever is written there is accepted."""

BOX_DESCRIPTION = (
    "The bounding box as [x1, y1, x2, y2]: (x1, y1) is its top-left corner and (x2, y2) its bottom-right corner."
)
_MAX_NAMES, _MAX_NAME = 16, 80  # how many unknown arguments, and how much of each, is looked at
_BOX_FIELD = Annotated[list[float], pydantic.Field(min_length=4, max_length=4, description=BOX_DESCRIPTION)]


def _itself(context: ToolContext) -> ToolContext:
    return context


_INJECTED: dict[Any, Callable[[ToolContext], Any]] = {
    Image: attrgetter("image"),
    tuple[Image, ...]: attrgetter("images"),
    ToolContext: _itself,
}


class Bound(NamedTuple):
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
        self._unread: list[str] = []
        self._fields: dict[str, Any] = {}
        for parameter in inspect.signature(function).parameters.values():
            self._add(parameter, hints, described)
        self._names = frozenset(self._fields)
        self._read = self._names.difference(self._unread)
        self._make_model()
        self.parameters = self._model.model_json_schema(schema_generator=_PlainSchema)
        self.parameters.pop("title", None)

    def _make_model(self) -> None:
        config = pydantic.ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
        self._model = pydantic.create_model(self.name, __config__=config, **self._fields)
        self._validate = self._model.__pydantic_validator__.validate_json

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the model, a class that no other process knows; it follows from the fields."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_model", "_validate")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_model()

    def _add(self, parameter: inspect.Parameter, hints: Mapping[str, Any], described: Mapping[str, str]) -> None:
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
        if hint == Unread:
            if parameter.default is parameter.empty:
                raise UsageTypeError(f"tool {self.name!r}: parameter {name!r} is Unread and needs a default")
            self._unread.append(name)
        default = ... if parameter.default is parameter.empty else parameter.default
        description = described.get(name)
        self._fields[name] = (hint, pydantic.Field(default, description=description) if description else default)

    @property
    def is_about_an_image(self) -> bool:
        """Whether there is a parameter for one image, or for a box on it."""
        return bool(self._boxes) or any(fill is _INJECTED[Image] for _, fill in self._injected)

    def bind(self, arguments: Mapping[str, Any], context: ToolContext) -> Bound:
        """Check the policy's arguments and add the environment's own.

        Raises:
            ArgumentError: A required argument is missing, has the wrong type, or a box does not fit the image. Strings
                are not taken for numbers, and NaN and Infinity are not numbers. An argument that no parameter reads is
                ignored, whatever it is, unless its name seems to be meant for a parameter that was not given.
        """
        given, unknown = arguments, []
        if not self._read.issuperset(arguments):
            given = {name: value for name, value in arguments.items() if name in self._read}
            unknown = [name for name in arguments if isinstance(name, str) and name not in self._names]
            self._refuse_misspelt(unknown, given)
        try:
            checked = self._validate(to_json(given, fallback=_without_numpy))
        except pydantic.ValidationError as error:
            raise self._refused(error, unknown) from None
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

    def _refuse_misspelt(self, unknown: Sequence[str], given: Mapping[str, Any]) -> None:
        for name in unknown[:_MAX_NAMES]:
            near = get_close_matches(name[:_MAX_NAME], self._read.difference(given), n=1, cutoff=0.7)
            if near:
                raise ArgumentError(f"there is no argument {quote(name)}; did you mean {near[0]!r}? {self._usage()}")

    def _refused(self, error: pydantic.ValidationError, unknown: Sequence[str]) -> ArgumentError:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:3]) or "arguments"
        reason = f"{where}: {first['msg'][:200]}"
        if unknown and first["type"] == "missing":
            reason += f"; there is no argument {quote(unknown[0])}"
        return ArgumentError(f"{reason}; {self._usage()}")

    def _usage(self) -> str:
        return usage(self.name, self.parameters)


def _without_numpy(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


class _PlainSchema(GenerateJsonSchema):
    """JSON schema without the titles that pydantic adds; policies need not read them.

    A parameter that may be ``None`` is described by its other type alone: servers' parsers of tool calls mistake an
    ``anyOf`` with ``null``. Leaving it out means ``None``.
    """

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        """Describe what the value is if it is not ``None``."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Name a default only where it says something."""
        described = super().default_schema(schema)
        if described.get("default", 0) in (None, ""):
            del described["default"]
        return described

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
    """Whether the JSON schema of a parameter describes a box, exactly four numbers, be it an optional one."""
    kinds = [kind for kind in schema.get("anyOf", (schema,)) if kind.get("type") != "null"]
    return [(kind.get("type"), kind.get("minItems"), kind.get("maxItems")) for kind in kinds] == [("array", 4, 4)]


def box_parameters(function: Mapping[str, Any]) -> list[str]:
    """Return the names of the parameters of a tool that take a box, in order.

    Args:
        function: Its schema's ``"function"``.
    """
    parameters = function["parameters"].get("properties", {})
    return [name for name, schema in parameters.items() if is_box_schema(schema)]


def usage(name: str, parameters: Mapping[str, Any]) -> str:
    """Say in a sentence which arguments a tool takes.

    Args:
        name: Its name.
        parameters: JSON schema of its arguments.
    """
    each = ", ".join(f'"{key}": {_usage(schema)}' for key, schema in parameters.get("properties", {}).items())
    return f"the arguments of {name} are {{{each}}}"


def _usage(schema: Mapping[str, Any]) -> str:
    if is_box_schema(schema):
        return "[x1, y1, x2, y2]"
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    return f"<{schema.get('type', 'value')}>"
