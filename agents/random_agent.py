"""RandomAgent: calls any tool with any arguments, writes garbage, answers some day."""

from __future__ import annotations

from random import Random
from typing import Any

from deepeyes_env.agents.scripted import ScriptedAgent, answering, guess
from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.envs.looking import image_argument
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.images.frames import frame_size
from deepeyes_env.tools.signature import is_box_schema

GARBAGE = (
    "",
    "I do not know.",
    "<think>Let me look closer.",
    "<tool_call>",
    "<tool_call>{}</tool_call>",
    '<tool_call>{"name": "no_such_tool", "arguments": {}}</tool_call>',
    "<answer></answer>",
    "```json\n[\n```",
    "\x00\ud800\U0001f50d <image>",
)
"""Messages that no protocol asks for: some end an episode, some only earn an error."""


class RandomAgent(ScriptedAgent):
    """A random mixture of tool calls (half of the messages), garbage and answers; many calls make no sense.

    It works with any toolbox: arguments are drawn from the tools' JSON schemas.
    """

    name = "random"

    def message(self, episode: Trajectory, random: Random) -> str:
        """Call a tool, write garbage or answer."""
        toolbox = toolbox_of(episode)
        functions = [schema["function"] for schema in toolbox.schemas]
        dice = random.random()
        if dice < 0.5 and functions and not self.must_answer(episode):
            function = random.choice(functions)
            schemas: dict[str, Any] = function["parameters"].get("properties", {})
            arguments = {name: random_argument(schema, episode, random) for name, schema in schemas.items()}
            if toolbox.addressing.argument in arguments:
                arguments |= image_argument(episode, random.randrange(episode.image_count))
            return toolbox.protocol.format_message("Perhaps this helps.", ToolCall(function["name"], arguments))
        if dice < 0.65:
            return random.choice(GARBAGE)
        return answering(episode, guess(episode.sample, random), "I guess.")


def random_argument(schema: dict[str, Any], episode: Trajectory, random: Random) -> Any:
    """Draw a value for a parameter of this JSON schema; a box lies in the image, and may be inverted."""
    if "enum" in schema:
        return random.choice(schema["enum"])
    if "anyOf" in schema:
        return random_argument(random.choice(schema["anyOf"]), episode, random)
    if is_box_schema(schema):
        width, height = frame_size(episode.frame, episode.native_size, episode.view_size)
        xs, ys = ([random.random() * side for _ in range(2)] for side in (width, height))
        x1, x2, y1, y2 = [*xs, *ys] if random.random() < 0.2 else [*sorted(xs), *sorted(ys)]
        return [x1, y1, x2, y2]
    match schema.get("type"):
        case "integer":
            return random.randint(-360, 360)
        case "number":
            return random.uniform(-360, 360)
        case "boolean":
            return random.random() < 0.5
        case "array":
            items = schema.get("items", {})
            return [random_argument(items, episode, random) for _ in range(random.randint(0, 4))]
        case "string":
            return random.choice(("something", "", "the left one"))
    return None
