"""McpTool: a tool of an MCP server, for the policy like any other."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.errors import ArgumentError, ToolServerError
from deepeyes_env.extras import import_extra
from deepeyes_env.images.png import encode_png
from deepeyes_env.mcp.results import output_of
from deepeyes_env.mcp.session import Session
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.signature import is_box_schema, usage
from deepeyes_env.tools.tool import Tool, ToolOutput

MAX_SCHEMA = 2**16
"""How many characters the description and the schema of a tool may have together: the policy reads them."""

_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")


@dataclass(frozen=True)
class Listed:
    """A tool, as a server names it.

    Attributes:
        name: Its name.
        description: What it does.
        parameters: JSON schema of all its arguments.
        images: Those of them that the environment fills in with the image that a call is about.
        boxes: Those that are boxes on that image.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    images: tuple[str, ...]
    boxes: tuple[str, ...]

    @classmethod
    def of(cls, tool: Any, server: str) -> Listed:
        """Take over what a server says of a tool.

        Args:
            tool: The SDK's ``Tool``.
            server: How errors name the server.

        Raises:
            ToolServerError: It is of no use.
        """

        def useless(why: str) -> ToolServerError:
            return ToolServerError(
                f"the tool server {server}: the tool {str(tool.name)[:80]!r} {why}; mend it, or choose others by only="
            )

        if not _NAME.fullmatch(tool.name):
            raise useless("has a name with other characters than letters, digits and _ . / -, or more than 128")
        description, parameters = " ".join((tool.description or tool.title or tool.name).split()), tool.input_schema
        if len(description) + len(json.dumps(parameters)) > MAX_SCHEMA:
            raise useless(f"describes itself in more than {MAX_SCHEMA} characters")
        properties = parameters.get("properties", {})
        try:
            _validator(parameters)
        except Exception as error:
            raise useless(f"has a schema that is none ({' '.join(str(error).split())[:200]})") from error
        if parameters.get("type") != "object" or not all(isinstance(each, dict) for each in properties.values()):
            raise useless("has a schema that describes no object with properties")
        images = tuple(name for name, schema in properties.items() if _is_image(schema))
        boxes = tuple(name for name, schema in properties.items() if images and is_box_schema(schema))
        return cls(tool.name, description, parameters, images, boxes)

    @property
    def written(self) -> dict[str, Any]:
        """JSON schema of the arguments that the policy writes."""
        schema = dict(self.parameters)
        schema["properties"] = {k: v for k, v in schema.get("properties", {}).items() if k not in self.images}
        if "required" in schema:
            schema["required"] = [name for name in schema["required"] if name not in self.images]
        return schema


class McpTool(Tool):
    """A tool of an MCP server.

    Args:
        listed: What the server says of it.
        session: The way to the server.
    """

    def __init__(self, listed: Listed, session: Session) -> None:
        self.listed = listed
        self.name = listed.name
        self.session = session

    @property
    def schema(self) -> dict[str, Any]:
        """What the server says of it, without the arguments that the environment fills in."""
        function = {"name": self.name, "description": self.listed.description, "parameters": self.listed.written}
        return {"type": "function", "function": function}

    @property
    def stateful(self) -> bool:
        """Whether the server may remember earlier calls of the episode: where it has a session of its own."""
        return self.session.per_episode

    @property
    def is_about_an_image(self) -> bool:
        """Whether the server gets an image."""
        return bool(self.listed.images)

    def open(self, sample: Sample) -> None:
        """Begin an episode: with a session of its own, which the first call connects."""
        self.close()

    def close(self) -> None:
        """End the episode's session."""
        self.session.close()

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Check the policy's arguments, and let the server do the rest.

        Raises:
            ArgumentError: They do not fit the schema, or a box does not fit the image.
            ToolError: The server refuses, cannot be reached, or returns what cannot be shown.
        """
        given = self._checked(arguments)
        box = None
        for name in self.listed.boxes:
            if given.get(name) is not None:
                box = context.native_box(given[name], name)
                given[name] = list(box)
        for name in self.listed.images:
            given[name] = base64.b64encode(encode_png(context.image)).decode()
        output = output_of(self.session.call(self.name, given), self.name)
        return output if len(self.listed.boxes) != 1 else ToolOutput(output.text, output.images, box)

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            given = json.loads(json.dumps(dict(arguments), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(f"the arguments of {self.name} are not valid JSON ({type(error).__name__})") from None
        given = {name: value for name, value in given.items() if name not in self.listed.images}
        wrong = next(iter(sorted(self._validator.iter_errors(given), key=lambda each: len(each.path))), None)
        if wrong is not None:
            where = ".".join(str(part)[:40] for part in list(wrong.path)[:3]) or "arguments"
            raise ArgumentError(f"{where}: {wrong.message[:200]}; {usage(self.name, self.listed.written)}")
        return dict(given)

    @cached_property
    def _validator(self) -> Any:
        return _validator(self.listed.written)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_validator"}


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what checks arguments; a schema that refers to another file is not followed there."""
    jsonschema, referencing = import_extra("jsonschema", "mcp"), import_extra("referencing", "mcp")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    return kind(schema, registry=referencing.Registry())


def _is_image(schema: Mapping[str, Any]) -> bool:
    kind = str(schema.get("contentMediaType", ""))
    return kind.startswith("image/") and schema.get("contentEncoding") == "base64" and schema.get("type") == "string"
