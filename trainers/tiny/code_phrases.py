"""The texts of ``code_search`` in DeepEyesV2's dialect, each of which is one token of the policy that writes code."""

from __future__ import annotations

import gymnasium as gym

import deepeyes_env  # noqa: F401  (registers the environments)
from deepeyes_env.core import ToolCall
from deepeyes_env.data.visual_search.code_programs import (
    CROP,
    MASK,
    STEP,
    contrast_program,
    count_program,
    length_program,
    rotation_program,
)
from deepeyes_env.data.visual_search.code_questions import ANGLES
from deepeyes_env.data.visual_search.code_search import CodeSearch
from deepeyes_env.data.visual_search.facts import FILE, FIRST, SECOND
from deepeyes_env.data.visual_search.patterns import SIZE
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.protocols import get_protocol
from deepeyes_env.tools.search import WebResult, search_observation

ENV = "DeepEyesV2-v0"

FINDING, DONE = "I find it out.", "I have seen enough."
"""What the oracle thinks before a call, and before its answer."""

DEFINITIONS = {colour: f"{colour} = {value}\n" for colour, value in COLOURS.items()}
"""How programs define colours, by their names."""

RATIOS = tuple(f"{tenths / 10:.1f}" for tenths in range(1, 41))
"""What a program that compares lengths may print."""

_QUESTIONS = (
    "How many ",
    " dots are there?",
    "How many times as long as the ",
    " bar is the ",
    " bar?",
    "Which pattern is faintly printed on the ",
    "The ",
    " square was printed with a pattern turned clockwise by ",
    " degrees. Which one is it?",
    "Which pattern is on the sign of ",
    "image_1: ",
)
_NO_ERROR = "\n```\n\nstderr:\n```\n\n```"
_PRINTED = "Code execution result:\nstdout:\n```\n"
_HERE = "\x00"


def code_fragments() -> list[str]:
    """Return the pieces of text that are one token each, beside those of ``phrases``."""
    return [
        *_prompt(),
        *_QUESTIONS,
        *_messages(),
        *_programs(),
        *_observations(),
        *DEFINITIONS.values(),
        *FIRST,
        *SECOND,
        *map(str, ANGLES),
        *RATIOS,
        *(str(side) for side in range(0, SIZE[0] + 2 * STEP, STEP) if side > 9),
    ]


def _prompt() -> list[str]:
    env = gym.make(ENV, dataset=CodeSearch(length=1))
    observation, info = env.reset(seed=0)
    env.close()
    return [info["system_prompt"], observation["text"].splitlines()[-1]]


def _messages() -> list[str]:
    """Return how a program, a search and an answer begin and end."""
    write = get_protocol("deepeyes_v2").format_message
    begun = [
        write(FINDING, ToolCall("python", {"code": _HERE})),
        write(FINDING, ToolCall("search", {"query": _HERE})).replace("\\u0000", _HERE),
        write(DONE, _HERE),
    ]
    return [part for message in begun for part in message.split(_HERE)]


def _programs() -> list[str]:
    written = (
        count_program("red"),
        length_program("red", "red"),
        contrast_program("red"),
        rotation_program("red", ANGLES[0]),
    )
    named = f"red = {COLOURS['red']}\n"
    bodies = [program.removeprefix(MASK).replace(named, "").replace(f"({ANGLES[0]},", "(ANGLE,") for program in written]
    parts = [part for body in bodies for piece in body.split("red") for part in piece.split("ANGLE")]
    return [MASK, *filter(None, parts), *CROP]


def _observations() -> list[str]:
    found = search_observation(_HERE, [WebResult("TITLE", f"{FILE}#1", "TITLE: checks")])
    asked, rest = found.split(_HERE)
    before, after = rest.split("TITLE", 1)
    link, snippet = after.split("1", 1)
    return [
        f"{_PRINTED}{_NO_ERROR}\n\nImages:\n",
        _PRINTED,
        f"\n{_NO_ERROR}",
        asked,
        before,
        link,
        snippet.split("TITLE")[0],
        ": ",
    ]
