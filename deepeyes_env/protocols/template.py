"""PromptTemplate: other words for what an environment says, for checkpoints that were trained on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.registry import unknown_name

_VARIABLE = re.compile(r"\{\{ ?(\w+) ?\}\}")

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "system": ("tools", "names"),
    "instructions": ("names",),
    "question": ("images", "question", "options", "instructions"),
    "result": ("result",),
    "observation": ("results", "errors", "instructions"),
    "error": ("errors", "instructions"),
    "prefill": (),
}
"""The variables that each part of a template may use, written ``{{ name }}``."""

_ONCE = {"question": ("images", "question"), "result": ("result",), "observation": ("results",), "error": ("errors",)}
"""The variables that a part must use, once: nothing may be lost or shown twice."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """What an environment says, in other words than its protocol's; what is ``None`` stays the protocol's.

    Attributes:
        system: The system prompt. ``tools``: the schemas, one a line; ``names``: the names of the tools.
        instructions: What is added to the question. ``names``: the names of the tools.
        question: The first user message. ``images``: a placeholder per image, empty where the question places them;
            ``question``; ``options``: a line feed and a lettered option each; ``instructions``.
        result: One call that ran. ``result``: what it returned, its text and a placeholder per image.
        observation: What follows a message of which a call ran. ``results``: one ``result`` after the other;
            ``errors``: what was wrong with the other calls; ``instructions``: what was added to the question.
        error: What follows a message of which no call ran. ``errors``: a line each; ``instructions``.
        prefill: What the policy's next message begins with then, such as ``<think>``: written for it, where its tokens
            are ours to write.

    Raises:
        UnknownNameError: A part uses a variable that it does not have.
        UsageError: A part holds ``<image>``, or lacks what would be lost without it, or has it twice.
        UsageTypeError: A part is no text.
    """

    system: str | None = None
    instructions: str | None = None
    question: str | None = None
    result: str | None = None
    observation: str | None = None
    error: str | None = None
    prefill: str | None = None

    def __post_init__(self) -> None:
        for part, variables in VARIABLES.items():
            text = getattr(self, part)
            if text is None:
                continue
            if not isinstance(text, str):
                raise UsageTypeError(f"prompt template: {part} must be text, not {text!r:.60}")
            if IMAGE_PLACEHOLDER in text:
                raise UsageError(f"prompt template: {part} holds {IMAGE_PLACEHOLDER}; images come with a variable")
            used = _VARIABLE.findall(text)
            for name in used:
                if name not in variables:
                    raise unknown_name(f"prompt template: variable of {part}", name, variables)
            for name in _ONCE.get(part, ()):
                if used.count(name) != 1:
                    times = used.count(name)
                    raise UsageError(f"prompt template: {part} must use {{{{ {name} }}}} once, and does {times} times")

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> PromptTemplate:
        """Make a template of its parts by name.

        Raises:
            UnknownNameError: There is no such part.
            UsageError, UsageTypeError: A part is wrong; see the class.
        """
        for part in parts:
            if part not in VARIABLES:
                raise unknown_name("part of a prompt template", str(part), VARIABLES)
        return cls(**parts)

    def parts(self) -> dict[str, str]:
        """Return the parts that are set, by name: what ``of`` takes, and what records of runs hold."""
        return {part: text for part, text in asdict(self).items() if text is not None}

    @property
    def replies(self) -> bool:
        """Whether it says how results are written."""
        return (self.result, self.observation, self.error) != (None, None, None)

    def reply(self, results: list[str], errors: list[str], instructions: str) -> str:
        """Write what follows a message with calls.

        Args:
            results: What the calls that ran returned.
            errors: What was wrong with the others.
            instructions: What was added to the question.
        """
        told = {"errors": "\n".join(errors), "instructions": instructions}
        failed = fill(self.error or "{{ errors }}", told)
        if not results:
            return failed
        observation = self.observation or "{{ results }}"
        written = "".join(fill(self.result or "{{ result }}", {"result": result}) for result in results)
        text = fill(observation, {**told, "results": written})
        untold = errors and "errors" not in _VARIABLE.findall(observation)
        return f"{text}\n{failed}" if untold else text


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of a part's variables; in one pass, so that values are taken as they are."""
    return _VARIABLE.sub(lambda found: values[found[1]], text)
