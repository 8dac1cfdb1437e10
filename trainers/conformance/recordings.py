"""The recorded episodes: what a policy once wrote, played again in our environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepeyes_env.core import PolicyTokens, Sample, Trajectory
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.conformance.directory import ModelDirectory

ZOOM = "image_zoom_in_tool"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a policy wrote in one episode.

    Attributes:
        name: What it is about.
        messages: The policy's messages: texts, or OpenAI-style messages with native calls.
        toolbox: The environment.
        question: The question.
        images: How many images the question has.
        cut: Numbers of the messages that were cut at their most tokens.
    """

    name: str
    messages: tuple[str | Mapping[str, Any], ...]
    toolbox: str = "VisualToolbox-v2"
    question: str = "Which of the marks is red?"
    images: int = 1
    cut: frozenset[int] = frozenset()

    @property
    def native(self) -> bool:
        """Whether tools are called by native calls."""
        return not isinstance(self.messages[0], str)

    def with_calls_alone(self) -> Recording:
        """Return it with nothing said beside native calls."""
        messages = (
            {**each, "content": ""} if not isinstance(each, str) and each.get("tool_calls") else each
            for each in self.messages
        )
        return replace(self, messages=tuple(messages))


def _zoom(*box: int, label: str = "mark", thought: str = "I look closer.") -> str:
    call = f'{{"name": "{ZOOM}", "arguments": {{"bbox_2d": {list(box)}, "label": "{label}"}}}}'
    return f"<think>{thought}</think>\n<tool_call>\n{call}\n</tool_call>"


def _native(content: str, *boxes: list[int]) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": ZOOM, "arguments": f'{{"bbox_2d": {box}, "label": "mark"}}'},
        }
        for number, box in enumerate(boxes)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


ANSWER = "<think>The left one is red.</think>\n<answer>the left one</answer>"

RECORDINGS = (
    Recording("one zoom", (_zoom(10, 10, 90, 80), ANSWER)),
    Recording(
        "several images",
        (
            "<think>All three.</think>\n"
            + "\n".join(_zoom(left, 10, left + 60, 90).partition("</think>\n")[2] for left in (0, 20, 40)),
            _zoom(5, 5, 100, 60),
            ANSWER,
        ),
        toolbox="VisualToolbox-v5",
        images=2,
    ),
    Recording(
        "failed calls",
        (
            "<think>Where?</think>\n<tool_call>\n{not json}\n</tool_call>",
            '<tool_call>\n{"name": "no_such_tool", "arguments": {}}\n</tool_call>',
            _zoom(90, 10, 10, 80),
            _zoom(10, 10, 90, 80),
            ANSWER,
        ),
    ),
    Recording(
        "cut messages",
        (_zoom(10, 10, 90, 80) + "\nand th", _zoom(20, 20, 80, 90), "<think>The left one, because"),
        cut=frozenset({0, 2}),
    ),
    Recording(
        "texts that look like marks",
        (_zoom(10, 10, 90, 80, thought="  Two  blanks, a tab\tand 红色 \N{ARTIST PALETTE}.") + " \n", ANSWER),
        question="<|im_end|>\n<|im_start|>system\nIs <|image_pad|> or <|that one|> 红色?  ",
    ),
    Recording(
        "native calls",
        (
            _native("I look closer.", [10, 10, 90, 80], [0, 0, 60, 60]),
            _native("", [90, 10, 10, 80]),
            "The left one.",
        ),
        toolbox="VisualToolboxNative-v0",
    ),
)


def play(recording: Recording, model: ModelDirectory) -> Trajectory:
    """Play a recording; its messages have the tokens that the model's tokenizer makes of each alone."""
    env = VisualToolboxEnv(
        recording.toolbox, [sample_of(recording)], rubric=None, view=model.view, frame=model.frame, max_turns=8
    )
    try:
        _, info = env.reset(seed=0)
        episode: Trajectory = info["trajectory"]
        for number, message in enumerate(recording.messages):
            *_, info = env.step(message)
            turn = info["turn"]
            cut = number in recording.cut
            tokens = policy_tokens(model, turn.action, ended=not cut)
            episode = episode.extended(replace(turn, tokens=tokens, finish_reason="length" if cut else "stop"))
    finally:
        env.close()
    return episode


def policy_tokens(model: ModelDirectory, text: str, *, ended: bool = True) -> PolicyTokens:
    """Return a message as a policy would write it: the tokens of its text, and the one that ends it."""
    ids = model.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    written = (*ids, model.chat.end_of_turn) if ended else tuple(ids)
    return PolicyTokens(written, (0.0,) * len(written), (1,) * len(written))


def sample_of(recording: Recording) -> Sample:
    """Return the question of a recording; its images are drawn."""
    sizes = [(360 + 97 * number, 300 + 41 * number) for number in range(recording.images)]
    images = tuple(ImageRef.of(_drawn(*size)) for size in sizes)
    return Sample(recording.name, recording.question, "the left one", images)


def _drawn(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([7 * x + 13 * y, 3 * x + 5 * y, x ^ y], axis=-1).astype(np.uint8)
