"""Toolbox: tools, a protocol and a rubric under one name; every environment variant is one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym

from deepeyes_env import toolbox_registry
from deepeyes_env.addressing import DEEPEYES, Addressing, get_addressing
from deepeyes_env.core import Trajectory
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.protocols import V2, PlainProtocol, Protocol, ProtocolLike, get_protocol
from deepeyes_env.registry import Registry, did_you_mean
from deepeyes_env.rewards import RubricLike, get_rubric
from deepeyes_env.tools import Tool, ToolLike, get_tool
from deepeyes_env.tools.signature import box_parameters
from deepeyes_env.tools.source import ToolSource

ENTRY_POINT = "deepeyes_env.envs.visual_toolbox:VisualToolboxEnv"
VECTOR_ENTRY_POINT = "deepeyes_env.envs.vector.thread:ThreadVectorEnv"


class BoxParameter(NamedTuple):
    """Where a box goes in a call.

    Attributes:
        tool: Name of the tool.
        parameter: Name of its parameter.
    """

    tool: str
    parameter: str


@dataclass(frozen=True)
class Toolbox:
    """What makes one variant of the environment.

    Attributes:
        name: Its environment id, such as ``VisualToolbox-v2``; empty for ordinary questions.
        tools: Tools (of one that keeps state each environment gets a copy), tool classes of which each environment gets
            instances of its own, or where tools come from.
        protocol: How the policy writes calls and answers.
        rubric: What scores the trajectory: a preset's name, a rubric, or ``None`` for no reward.
        addressing: Which images the tools may be asked about, and how a call names one.
    """

    name: str
    tools: tuple[Tool | type[Tool] | ToolSource, ...]
    protocol: Protocol = V2
    rubric: RubricLike | None = "deepeyes"
    addressing: Addressing = DEEPEYES

    def make_tools(self) -> dict[str, Tool]:
        """Return the tools by name, with an instance of each tool class, and what sources have.

        Raises:
            UsageError: A source has a tool of the same name as another one.
        """
        tools = self.known_tools()
        for source in self.sources:
            for tool in source.make_tools():
                if tool.name in tools:
                    raise UsageError(f"{self.name}: {source} has a tool {tool.name!r}, and there is one of that name")
                tools[tool.name] = tool
        return tools

    def known_tools(self) -> dict[str, Tool]:
        """Return those tools that no source has to be asked for."""
        own = (tool for tool in self.tools if not isinstance(tool, ToolSource))
        return {tool.name: _instance(tool) for tool in own}

    @property
    def sources(self) -> tuple[ToolSource, ...]:
        """Where tools come from that are found out at reset; asking them may take seconds."""
        return tuple(tool for tool in self.tools if isinstance(tool, ToolSource))

    @cached_property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """The tools as OpenAI-style JSON, in order."""
        return self.schemas_of(self.make_tools().values())

    def schemas_of(self, tools: Iterable[Tool]) -> tuple[dict[str, Any], ...]:
        """Return tools as OpenAI-style JSON, with the argument that names the image where calls can name one."""
        addressing = self.addressing
        return tuple(
            addressing.schema(tool.schema)
            if addressing.argument and tool.is_about_an_image and addressing.argument not in tool.own_arguments
            else tool.schema
            for tool in tools
        )

    @cached_property
    def box_parameter(self) -> BoxParameter | None:
        """The first tool that takes a box, and what it calls the box; ``None`` if no tool does."""
        for schema in self.schemas:
            function = schema["function"]
            for parameter in box_parameters(function):
                return BoxParameter(function["name"], parameter)
        return None

    @cached_property
    def cropping_tools(self) -> frozenset[str]:
        """The names of those tools that return pixels of stored images as they are."""
        return frozenset(name for name, tool in self.known_tools().items() if tool.returns_crops)


def _instance(tool: Tool | type[Tool]) -> Tool:
    """Return a tool for one environment: episodes never share a state, and tools without one are shared."""
    if isinstance(tool, type):
        return tool()
    return copy(tool) if tool.stateful else tool


class ToolboxId(str):
    """An environment id that other processes understand: pickled, it takes the toolboxes and rubrics of this one along.

    Environments that start in other processes, such as those of ``AsyncVectorEnv`` and ``SubprocVecEnv``, are made of
    an id. A process that is spawned knows the package's own toolboxes only.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        from deepeyes_env.envs.additions import Parcel, arrived  # which imports this module

        return arrived, (str(self), Parcel.packed())

    def __deepcopy__(self, memo: dict[int, Any]) -> ToolboxId:
        return self


PLAIN = Toolbox("", (), PlainProtocol())
"""The toolbox of ordinary questions: none."""

TOOLBOXES: Registry[Toolbox] = toolbox_registry.TOOLBOXES
"""Every toolbox by name; the original's spelling (``visual_toolbox_v2``) means the same as ours."""


def register_toolbox(
    id: str,
    *,
    tools: Sequence[ToolLike | ToolSource] | ToolSource,
    protocol: ProtocolLike = "v2",
    rubric: RubricLike | None = "deepeyes",
    addressing: str | Addressing = "deepeyes",
    **kwargs: Any,
) -> Toolbox:
    """Make a new environment variant, known to ``gym.make`` and to data sets (``Sample.env_name``) by its id.

    Args:
        id: Environment id in Gymnasium's form, such as ``"MyToolbox-v0"``.
        tools: Names of registered tools, tools, tool classes, or ``mcp_tools(...)``.
        protocol: How the policy writes calls and answers: a registered protocol's name, or a protocol; by default
            ``<tool_call>`` JSON, as in the original's v2.
        rubric: A preset's name, a rubric, or ``None``.
        addressing: Which images the tools may be asked about, and how a call names one: a registered name, or an
            ``Addressing``; by default the first image, as in the original.
        **kwargs: Default keyword arguments of ``VisualToolboxEnv`` for this id.

    Raises:
        UnknownNameError: The name of a tool, of the protocol or of the addressing is not registered.
        UsageError: Two tools have the same name, or a toolbox of the package has that name.
        UsageTypeError: A tool, the protocol or the rubric is none; or the environment has no such argument.
    """
    given = (tools,) if isinstance(tools, ToolSource) else tools
    resolved = tuple(tool if isinstance(tool, ToolSource) else get_tool(tool) for tool in given)
    names = [tool.name for tool in resolved if not isinstance(tool, ToolSource)]
    _check_arguments(id, kwargs)
    if rubric is not None and not isinstance(rubric, str):
        get_rubric(rubric)
    if len(set(names)) < len(names):
        raise UsageError(f"register_toolbox({id!r}): tool names must be unique, got {', '.join(names)}")
    toolbox = Toolbox(id, resolved, get_protocol(protocol), rubric, get_addressing(addressing))
    TOOLBOXES.register(id, toolbox)
    gym.register(
        id,
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"toolbox": ToolboxId(id), **kwargs},
        # It would warn that a crop shares memory with its image. Both are read-only, and sharing is the point: with
        # view=None a crop is a numpy view, a thousand times cheaper than a copy.
        disable_env_checker=True,
        # The environment raises ResetNeeded itself; a wrapper that counts resets does not know of ``restore``.
        order_enforce=False,
    )
    return toolbox


def _check_arguments(id: str, kwargs: Iterable[str]) -> None:
    """Check that arguments registered with an id are the environment's, which would refuse others much later."""
    if not kwargs:
        return
    from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv  # which imports this module

    known = set(inspect.signature(VisualToolboxEnv).parameters) - {"toolbox", "rubric"}
    for name in kwargs:
        if name not in known:
            raise UsageTypeError(f"register_toolbox({id!r}): unknown argument {name!r}; {did_you_mean(name, known)}")


def get_toolbox(name: str | Toolbox) -> Toolbox:
    """Look a toolbox up by name; the original's spelling (``visual_toolbox_v2``) means the same as ours.

    Raises:
        UnknownNameError: No toolbox has that name; the message has the nearest one.
    """
    if isinstance(name, Toolbox):
        return name
    return TOOLBOXES.get(name)


def toolbox_of(episode: Trajectory) -> Toolbox:
    """Return the toolbox that an episode is played with; one without tools for an ordinary question.

    Raises:
        UnknownNameError: The toolbox is not registered in this process.
    """
    return get_toolbox(episode.toolbox) if episode.toolbox else PLAIN


def check_is_ours(env: str) -> None:
    """Check that an environment id is one of this package's.

    Raises:
        UsageError: It is another package's.
        gymnasium.error.Error: There is no such id.
    """
    if gym.spec(env).entry_point != ENTRY_POINT:
        raise UsageError(f"env={env!r}: is not an environment of this package; register_toolbox makes one")


def registered_kwargs(toolbox: str | Toolbox) -> dict[str, Any]:
    """Return the keyword arguments of an environment: those registered with an id, or just the toolbox.

    Raises:
        UsageError: The id is that of another package's environment.
    """
    if isinstance(toolbox, str) and toolbox in gym.registry:
        check_is_ours(toolbox)
        return dict(gym.spec(toolbox).kwargs)
    return {"toolbox": toolbox}
