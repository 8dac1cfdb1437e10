"""Model context: fit a conversation to a budget of images and tokens.

    from deepeyes_env.agents.context import Budget, ContextLog, fit_to_budget, with_context_log

    fitted = fit_to_budget(episode, budget, overhead=0)  # pure: the same for the same running trajectory and budget
    fitted.episode    # the running Trajectory to build the request from: crops left out or made smaller
    fitted.log        # what every request of the episode so far held; with_context_log records it in the metadata

What is left out is replaced by a note, in the observation and in the results of the turn, so that text protocols and
tool messages are treated alike. The sample's own images are never touched: boxes are written on them. Neither are the
images of the last observation left out: the model asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.budget import Budget, ContextLog, OverflowStrategy, RequestUsage
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, ToolResult, Trajectory, Turn
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ops import fit
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import DEFAULT_FACTOR, ViewBudget

IMAGE_MARKS = 2
"""Tokens around the tokens of an image: where it begins and ends."""

MESSAGE_MARKS = 5
"""Tokens around a message in ChatML: start, role, line break; end, line break."""

REPLY_MARKS = 3
"""Tokens of the generation prompt, with which the assistant's message begins."""

LEFT_OUT = "[image left out]"
"""Stands where an image was."""

MOST_PIXELS = 4096 * 4096
"""Where the search for a smaller size begins."""

_LEAST_SIDE = 4
_STEP = 0.8

__all__ = [
    "LEFT_OUT",
    "Budget",
    "ContextLog",
    "FittedConversation",
    "OverflowStrategy",
    "RequestUsage",
    "fit_to_budget",
    "with_context_log",
]


@dataclass(frozen=True, slots=True)
class FittedConversation:
    """A conversation as it is sent.

    Attributes:
        episode: The conversation, with crops left out or made smaller.
        log: What this request and those before it held.
    """

    episode: Trajectory
    log: ContextLog


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A smaller copy of an image, made when its pixels are asked for.

    Attributes:
        image: The image.
        size: ``(width, height)`` of the copy in pixels.
    """

    image: ImageRef
    size: Size

    @property
    def key(self) -> str:
        """Text that determines the pixels."""
        return f"{self.image.digest} at {self.size[0]} x {self.size[1]}"

    def render(self) -> Image:
        """Return the pixels: ``(H, W, 3)`` ``uint8``."""
        return fit(self.image.pixels(), self.size)


def fit_to_budget(episode: Trajectory, budget: Budget, overhead: int = 0) -> FittedConversation:
    """Fit a running conversation to a budget.

    Args:
        episode: The conversation; the next message is the agent's.
        budget: How much the request may hold.
        overhead: Tokens that it holds beside the messages, such as the schemas of tools.

    Raises:
        deepeyes_env.agents.agent.AgentError: The conversation does not fit, and the overflow strategy cannot make it.
    """
    counts = _TokenCounts.of(episode, budget, overhead)
    plans = [counts.plan(turns) for turns in range(len(episode.turns) + 1)]
    requests = tuple(counts.usage(turns, plan) for turns, plan in enumerate(plans))
    counts.check(requests[-1])
    log = ContextLog(budget.overflow, budget.max_tokens, budget.max_images, requests)
    return FittedConversation(_edited(episode, len(episode.prompt.images), plans[-1]), log)


def with_context_log(trajectory: Trajectory, budget: Budget, overhead: int = 0) -> Trajectory:
    """Return a finished trajectory with its log in ``metadata["context_log"]``: the request of each turn."""
    counts = _TokenCounts.of(trajectory, budget, overhead)
    requests = tuple(counts.usage(turns, counts.plan(turns)) for turns in range(len(trajectory.turns)))
    log = ContextLog(budget.overflow, budget.max_tokens, budget.max_images, requests)
    return replace(trajectory, metadata={**trajectory.metadata, "context_log": log.as_json()})


_Plan: TypeAlias = Mapping[int, Size | None]
"""What becomes of crops, by their number in the conversation: another size, or ``None``: left out."""


@dataclass(frozen=True, slots=True)
class _TokenCounts:
    """How many tokens the parts of a conversation are.

    Attributes:
        budget: See ``Budget``.
        texts: Tokens of text in the request, by the number of turns before it.
        own: Sizes of the sample's own images.
        crops: Sizes of the images of each turn's observation.
    """

    budget: Budget
    texts: tuple[int, ...]
    own: tuple[Size, ...]
    crops: tuple[tuple[Size, ...], ...]

    @classmethod
    def of(cls, episode: Trajectory, budget: Budget, overhead: int) -> _TokenCounts:
        """Count the parts of a conversation; ``overhead`` is what each request holds beside the messages."""
        count = budget.count_tokens
        text = overhead + REPLY_MARKS + _text_tokens(episode.prompt.text, count)
        if episode.system_prompt:
            text += _text_tokens(episode.system_prompt, count)
        texts = [text]
        for turn in episode.turns:
            text += MESSAGE_MARKS + (len(turn.tokens.ids) if turn.tokens else count(turn.action))
            text += _text_tokens(turn.observation.text, count) if turn.observation else 0
            texts.append(text)
        own = tuple(image.size for image in episode.prompt.images)
        crops = tuple(tuple(image.size for image in _images(turn)) for turn in episode.turns)
        return cls(budget, tuple(texts), own, crops)

    def plan(self, turns: int) -> _Plan:
        """Decide what becomes of the crops in the request after some turns."""
        sizes = self._numbered(turns)
        latest = len(sizes) - (len(self.crops[turns - 1]) if turns else 0)
        oldest_first = list(range(len(self.own), latest))
        plan: dict[int, Size | None] = {}
        if self.budget.overflow == "refuse":
            return plan
        while oldest_first and self._too_many(self.usage(turns, plan)):
            plan[oldest_first.pop(0)] = None
        dropped, plan = plan, self._resized(turns, plan)
        dear = [number for number in oldest_first if self._saves(plan.get(number) or sizes[number])]
        while dear and self._too_long(self.usage(turns, plan)):
            dropped[dear.pop(0)] = None
            plan = self._resized(turns, dropped)
        return plan

    def _resized(self, turns: int, dropped: dict[int, Size | None]) -> dict[int, Size | None]:
        return self._shrunk(turns, dropped) if self.budget.overflow == "shrink" else dict(dropped)

    def usage(self, turns: int, plan: _Plan) -> RequestUsage:
        """Return what the request after some turns holds."""
        sizes = self._numbered(turns)
        shown = [plan.get(number, size) for number, size in enumerate(sizes)]
        left = [size for size in shown if size is not None]
        note = self.budget.count_tokens(LEFT_OUT)
        return RequestUsage(
            text_tokens=self.texts[turns] + IMAGE_MARKS * len(left) + note * (len(shown) - len(left)),
            visual_tokens=sum(map(self.budget.family.visual_tokens, left)),
            images=len(left),
            dropped=tuple(number for number, size in enumerate(shown) if size is None),
            shrunk=tuple((number, *size) for number, size in sorted(plan.items()) if size is not None),
        )

    def check(self, usage: RequestUsage) -> None:
        """Raise if a request holds too much."""
        budget = self.budget
        if self._too_many(usage):
            held, limit, name = f"{usage.images} images", budget.max_images, "max_images"
        elif self._too_long(usage):
            held = f"{usage.tokens} tokens ({usage.visual_tokens} of {usage.images} images)"
            limit, name = budget.max_tokens, "max_tokens"
        else:
            return
        remedy = "overflow='drop' or 'shrink'" if budget.overflow == "refuse" else "a smaller view budget"
        raise AgentError(
            f"the conversation holds {held}, the budget is {name}={limit}: give a larger one (a local model's own is "
            f"what its context leaves beside max_new_tokens: let that be less), or use {remedy}"
        )

    def _saves(self, size: Size) -> bool:
        """Whether an image costs more than the note in its place."""
        return IMAGE_MARKS + self.budget.family.visual_tokens(size) > self.budget.count_tokens(LEFT_OUT)

    def _numbered(self, turns: int) -> list[Size]:
        return [*self.own, *(size for crops in self.crops[:turns] for size in crops)]

    def _too_many(self, usage: RequestUsage) -> bool:
        return self.budget.max_images is not None and usage.images > self.budget.max_images

    def _too_long(self, usage: RequestUsage) -> bool:
        return self.budget.max_tokens is not None and usage.tokens > self.budget.max_tokens

    def _shrunk(self, turns: int, plan: dict[int, Size | None]) -> dict[int, Size | None]:
        """Lower the most pixels that a crop may have, step by step, until the request fits.

        The steps are fixed, so that sizes stay the same over most turns, and servers find their prefix cache.
        """
        sizes = self._numbered(turns)
        crops = [number for number in range(len(self.own), len(sizes)) if number not in plan]
        view = self.budget.family.view
        factor = view.factor if view else DEFAULT_FACTOR
        # A server enlarges what has fewer pixels than its family's least.
        least = float(max((_LEAST_SIDE * factor) ** 2, view.min_pixels if view else 0))
        most = max((sizes[number][0] * sizes[number][1] for number in crops), default=0)
        shrunk = plan
        cap = float(MOST_PIXELS)
        while cap > least and self._too_long(self.usage(turns, shrunk)):
            cap = max(least, cap * _STEP)
            if cap < most:
                budget = ViewBudget(factor**2, int(cap), factor)
                smaller = {n: budget.fit(sizes[n]) for n in crops if sizes[n][0] * sizes[n][1] > int(cap)}
                shrunk = {**plan, **smaller}
        return shrunk


def _text_tokens(text: str, count: Callable[[str], int]) -> int:
    """Return the tokens of a message but for its images."""
    return MESSAGE_MARKS + count(text.replace(IMAGE_PLACEHOLDER, ""))


def _images(turn: Turn) -> tuple[ImageRef, ...]:
    return turn.observation.images if turn.observation else ()


def _edited(episode: Trajectory, first: int, plan: _Plan) -> Trajectory:
    """Return a conversation after a plan; ``first`` is the number of the first crop."""
    if not plan:
        return episode
    turns = []
    for turn in episode.turns:
        images = _images(turn)
        here = {position: plan[first + position] for position in range(len(images)) if first + position in plan}
        turns.append(_edited_turn(turn, here) if here else turn)
        first += len(images)
    return replace(episode, turns=tuple(turns))


def _edited_turn(turn: Turn, plan: _Plan) -> Turn:
    """Return a turn after a plan, by the positions of images in its observation."""
    assert turn.observation is not None
    results, first = [], 0
    for result in turn.results:
        results.append(_edited_result(result, first, plan))
        first += len(result.images)
    return replace(turn, results=tuple(results), observation=_edited_message(turn.observation, plan))


def _edited_message(message: Message, plan: _Plan) -> Message:
    parts = message.text.split(IMAGE_PLACEHOLDER)
    text = parts[0]
    for position, part in enumerate(parts[1:]):
        text += (LEFT_OUT if position in plan and plan[position] is None else IMAGE_PLACEHOLDER) + part
    return replace(message, text=text, images=_left(message.images, 0, plan))


def _edited_result(result: ToolResult, first: int, plan: _Plan) -> ToolResult:
    images = _left(result.images, first, plan)
    text = result.text + LEFT_OUT * (len(result.images) - len(images))
    return replace(result, text=text, images=images)


def _left(images: Sequence[ImageRef], first: int, plan: _Plan) -> tuple[ImageRef, ...]:
    """Return the images that are left, in their sizes; the position of the first is ``first``."""
    left = []
    for position, image in enumerate(images, first):
        size = plan.get(position, image.size)
        if size is not None:
            left.append(image if size == image.size else ImageRef(Shrunk(image, size), name=image.name))
    return tuple(left)
