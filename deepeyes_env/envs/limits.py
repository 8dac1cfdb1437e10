"""Limits of an episode: turns, images, tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deepeyes_env.core import Message, StopReason, Trajectory, Turn
from deepeyes_env.data import Dataset
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import DEFAULT_FACTOR, ViewBudget

DEFAULT_MAX_TURNS = 6
"""How many turns an episode may have."""


def approximate_tokens(text: str) -> int:
    """Estimate the tokens of a text without a tokenizer: one for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends an episode early.

    Attributes:
        max_turns: Maximum turns: assistant messages in an episode.
        max_images: Maximum number of images in the whole conversation, the sample's own included.
        max_tokens: Maximum number of tokens in the whole conversation, visual ones included; ``None`` for no limit.
        count_tokens: Counts the tokens of a text; ``approximate_tokens`` by default, a tokenizer's if exactness
            matters.
        factor: Side in pixels of the square that costs one visual token.
    """

    max_turns: int = DEFAULT_MAX_TURNS
    max_images: int = 32
    max_tokens: int | None = None
    count_tokens: Callable[[str], int] = approximate_tokens
    factor: int = DEFAULT_FACTOR

    def __post_init__(self) -> None:
        for name in ("max_turns", "max_images"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: must be at least 1")

    def message_tokens(self, message: Message) -> int:
        """Return the tokens of a message: its text, and one for every ``factor`` x ``factor`` square of its images."""
        budget = ViewBudget(factor=self.factor, min_pixels=self.factor**2)
        return self.count_tokens(message.text) + sum(budget.visual_tokens(image.size) for image in message.images)

    def turn_tokens(self, turn: Turn) -> int:
        """Return the tokens of a turn: the policy's own if known, and the observation's."""
        written = len(turn.tokens.ids) if turn.tokens else self.count_tokens(turn.action)
        return written + (self.message_tokens(turn.observation) if turn.observation else 0)

    def tokens(self, trajectory: Trajectory) -> int:
        """Return the tokens of a conversation, system prompt included; chat-template marks are not counted."""
        opening = self.count_tokens(trajectory.system_prompt) + self.message_tokens(trajectory.prompt)
        return opening + sum(map(self.turn_tokens, trajectory.turns))

    def reached(self, opening: Trajectory | None, turns: Sequence[Turn]) -> StopReason:
        """Return which limit of turns or tokens a running episode has reached; empty if none."""
        if len(turns) >= self.max_turns:
            return "max_turns"
        if self.max_tokens is None or opening is None:
            return ""
        return "token_budget" if self.tokens(replace(opening, turns=tuple(turns))) >= self.max_tokens else ""


def resolve_view(view: ViewBudget | Literal["auto"] | None, dataset: Dataset) -> ViewBudget | None:
    """Return the view budget that an environment uses; ``None`` for native pixels.

    Args:
        view: What it was given; ``"auto"`` for what the data set recommends, else the default.
        dataset: Its data set.

    Raises:
        UsageError: ``view`` is something else.
    """
    if view is None or isinstance(view, ViewBudget):
        return view
    if isinstance(view, Mapping):  # what is left of a ViewBudget in JSON
        return ViewBudget(**view)
    if view == "auto":
        return getattr(dataset, "view", None) or ViewBudget()
    raise UsageError(f"view={view!r}: give a ViewBudget, 'auto', or None for native pixels")
