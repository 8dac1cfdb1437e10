"""The opening of an episode: what the policy is told before its first message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic_core import from_json

from deepeyes_env.core import IMAGE_PLACEHOLDER, UNKNOWN_TOOLS, Message, Sample, ToolResult, Trajectory
from deepeyes_env.data.benchmarks import FIXED_OPTIONS
from deepeyes_env.envs.row_prompt import PromptSource, has_own_prompt, row_prompt, unknown_tools
from deepeyes_env.envs.toolbox import PLAIN, Toolbox
from deepeyes_env.errors import UsageError
from deepeyes_env.fast_init import fast_init
from deepeyes_env.images import ImageRef
from deepeyes_env.images.frames import Frame
from deepeyes_env.option_letters import letter_options
from deepeyes_env.protocols import PromptTemplate, Protocol, neutral
from deepeyes_env.protocols.tagged import response_text
from deepeyes_env.protocols.template import fill
from deepeyes_env.shown import question_images
from deepeyes_env.tools import Tool
from deepeyes_env.tools.album import Album

_FIRST_ONLY = "\nThe tools see the first image only."


@dataclass(frozen=True)
class BoundToolbox:
    """A toolbox as one environment uses it: its own tool instances, and the prompts that follow from them.

    Attributes:
        toolbox: The toolbox.
        tools: Tools by name.
        schemas: OpenAI-style schemas of the tools.
        schemas_json: The same as JSON text.
        template: Other words than the protocol's, where it has any.
        system_prompt: What the policy is told about the tools.
        instructions: What is added to the question.
    """

    toolbox: Toolbox
    tools: dict[str, Tool]
    schemas: tuple[dict[str, Any], ...]
    schemas_json: str
    template: PromptTemplate
    system_prompt: str
    instructions: str

    @classmethod
    def of(cls, toolbox: Toolbox, template: PromptTemplate = PromptTemplate()) -> BoundToolbox:  # noqa: B008
        """Make the tools of a toolbox, and what follows from them.

        Args:
            toolbox: The toolbox.
            template: Other words than the protocol's; an ordinary question brings its own.

        Raises:
            UsageError: The template says how results are written, and the toolbox has native calls.
        """
        tools = toolbox.make_tools()
        schemas = toolbox.schemas_of(tools.values())
        protocol = toolbox.protocol
        if toolbox is PLAIN:
            template = PromptTemplate()
        if protocol.native and (template.replies or template.prefill):
            raise UsageError(
                f"prompt_template: {toolbox.name} has native calls, whose results are messages of tools; leave out "
                "result, observation, error and prefill"
            )
        system, instructions = protocol.system_prompt(schemas), protocol.instructions(schemas)
        told = {"tools": "\n".join(map(json.dumps, schemas)), "names": ", ".join(tools)}
        if template.system is not None:
            system = fill(template.system, told)
        if template.instructions is not None:
            instructions = fill(template.instructions, told)
        return cls(toolbox, tools, schemas, json.dumps(schemas), template, system, instructions)

    @cached_property
    def protocol(self) -> Protocol:
        """The toolbox's protocol."""
        return self.toolbox.protocol

    def album(self, views: Sequence[ImageRef], originals: Sequence[ImageRef]) -> Album | None:
        """Return the images of a question for calls to name; ``None`` where there is one and no other can come.

        Args:
            views: The question's images as they are shown.
            originals: The same as they are stored.
        """
        addressing = self.toolbox.addressing
        if not self.tools or (addressing.scope == "first" and len(views) == 1):
            return None
        return Album(addressing, question_images(views, originals))

    def fresh_schemas(self) -> tuple[dict[str, Any], ...]:
        """Return the schemas as objects of the caller's own; parsing them is 8 times as fast as a deep copy."""
        return tuple(from_json(self.schemas_json))

    @property
    def stateful(self) -> bool:
        """Whether any tool keeps state over the turns of an episode."""
        return any(tool.stateful for tool in self.tools.values())

    def with_options_in_order(self, sample: Sample, prompt: PromptSource, rng: np.random.Generator) -> Sample:
        """Return the sample with its options as they will be shown: shuffled, unless its own text has them written."""
        return sample if has_own_prompt(sample, prompt, self.protocol) else shuffle_options(sample, rng)

    def opening(self, sample: Sample, prompt: PromptSource) -> Opening:
        """Return what the policy is told before its first message.

        Raises:
            UsageError: The row's own messages are asked for, and it has none.
            DataError: They cannot open an episode.
        """
        ordinary = self.toolbox is PLAIN
        if has_own_prompt(sample, prompt, self.protocol) or (prompt == "row" and not ordinary):
            row = row_prompt(sample)
            missing = unknown_tools(row, self.tools, self.toolbox.name)
            facts: dict[str, Any] = {"prompt": "row", **({UNKNOWN_TOOLS: list(missing)} if missing else {})}
            reply = self.template if self.template.replies else self.protocol.row_reply
            prefill = self.template.prefill or (reply.prefill if reply else None)
            words = reply if reply and reply.replies else None
            return Opening(row.system, row.user, row.instructions, words, prefill or "", facts)
        system = str(sample.metadata.get("system_prompt", "")) if ordinary else self.system_prompt
        addressing, instructions = self.toolbox.addressing, self.instructions
        several = len(sample.images) > 1 and bool(self.tools)
        if several and addressing.scope == "first":
            instructions += _FIRST_ONLY
        text = opening_text(sample, instructions, self.template.question)
        if addressing.scope == "episode" or (several and addressing.scope == "question"):
            text = addressing.titled(text, IMAGE_PLACEHOLDER)
        reply = self.template if self.template.replies else None
        return Opening(system, text, instructions, reply, self.template.prefill or "")

    def reply(self, opening: Opening, results: Sequence[ToolResult], skipped: int) -> str:
        """Write the results of a message's calls, in the words that the opening began with."""
        if opening.template is None:
            return self.protocol.reply(results, skipped)
        ran = [response_text(result) for result in results if result.ok]
        failed = [response_text(result) for result in results if not result.ok]
        return opening.template.reply(ran, failed, opening.instructions)


@fast_init
@dataclass(frozen=True, slots=True)
class Opening:
    """What the policy is told before its first message, and in whose words it goes on.

    Attributes:
        system_prompt: The system prompt; may be empty.
        text: The first user message, with a placeholder per image.
        instructions: What it adds to the question.
        template: How results are written; ``None``: as the protocol does.
        prefill: What a message of the policy that follows results begins with.
        facts: What is recorded of it.
    """

    system_prompt: str = ""
    text: str = ""
    instructions: str = ""
    template: PromptTemplate | None = None
    prefill: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def trajectory(self, sample: Sample, views: tuple[ImageRef, ...], toolbox: Toolbox, frame: Frame) -> Trajectory:
        """Return an episode that begins so.

        Args:
            sample: What is asked, its options in the order shown.
            views: Its images, as they are shown.
            toolbox: What it is played with.
            frame: Coordinate frame in which the policy writes boxes.
        """
        return Trajectory(
            sample=sample,
            prompt=Message(self.text, views),
            system_prompt=self.system_prompt,
            toolbox=toolbox.name,
            frame=frame,
            native_size=sample.images[0].size,
            metadata=dict(self.facts),
        )


def opening_text(sample: Sample, instructions: str, template: str | None = None) -> str:
    """Return the first user message: images, question, lettered options, instructions.

    Args:
        sample: What is asked.
        instructions: What is added to the question.
        template: How they are put together; see ``PromptTemplate.question``.
    """
    images = "" if IMAGE_PLACEHOLDER in sample.question else IMAGE_PLACEHOLDER * len(sample.images)
    options = "".join(f"\n({letter}) {neutral(text)}" for letter, text in letter_options(sample.options))
    if template is not None:
        told = {"images": images, "question": sample.question, "options": options, "instructions": instructions}
        return fill(template, told)
    return (f"{images}\n" if images else "") + sample.question + options + instructions


def shuffle_options(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return the sample with its options in random order, so that the right one is no fixed letter.

    A sample whose metadata holds ``FIXED_OPTIONS`` keeps its order.
    """
    if len(sample.options) < 2 or sample.metadata.get(FIXED_OPTIONS):
        return sample
    order = rng.permutation(len(sample.options))
    return replace(sample, options=tuple(sample.options[i] for i in order))
