"""Upkeep of a conversation: keep what is sent to a model within a budget of images and tokens.

    from deepeyes_env.agents.context import Budget, Ledger, keep_up, with_ledger

    kept = keep_up(episode, budget, overhead=0)    # pure: the same for the same running trajectory and budget
    kept.episode    # the running Trajectory to build the request from: crops left out or made smaller
    kept.ledger     # what every request of the episode so far held; ``ledger.as_json()`` goes to metadata["ledger"]

What is left out is replaced by a note, in the observation and in the results of the turn, so that text protocols and
tool messages are kept up alike. The sample's own images are never touched: boxes are written on them. Neither are the
images of the last observation left out: the model asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.budget import Budget, Entry, Ledger, Policy
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, ToolResult, Trajectory, Turn
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ops import fit
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget

IMAGE_MARKS = 2
"""Tokens around the tokens of an image: where it begins and ends."""

MESSAGE_MARKS = 5
"""Tokens around a message in ChatML: start, role, line break; end, line break."""

REPLY_MARKS = 3
"""Tokens that ask the assistant to speak."""

LEFT_OUT = "[image left out]"
"""Stands where an image was."""

MOST_PIXELS = 4096 * 4096
"""Where the search for a smaller size begins."""

_LEAST_SIDE = 4
_STEP = 0.8

__all__ = ["LEFT_OUT", "Budget", "Entry", "Kept", "Ledger", "Policy", "keep_up", "with_ledger"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A conversation as it is sent.

    Attributes:
        episode: The conversation, with crops left out or made smaller.
        ledger: What this request and those before it held.
    """

    episode: Trajectory
    ledger: Ledger


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


def keep_up(episode: Trajectory, budget: Budget, overhead: int = 0) -> Kept:
    """Bring a running conversation within a budget.

    Args:
        episode: The conversation; the agent is to speak next.
        budget: How much the request may hold.
        overhead: Tokens that it holds beside the messages, such as the schemas of tools.

    Raises:
        deepeyes_env.agents.agent.AgentError: The conversation does not fit, and the policy cannot make it fit.
    """
    bill = _Bill.of(episode, budget, overhead)
    plans = [bill.plan(turns) for turns in range(len(episode.turns) + 1)]
    entries = tuple(bill.entry(turns, plan) for turns, plan in enumerate(plans))
    bill.check(entries[-1])
    ledger = Ledger(budget.policy, budget.max_tokens, budget.max_images, entries)
    return Kept(_edited(episode, len(episode.prompt.images), plans[-1]), ledger)


def with_ledger(trajectory: Trajectory, budget: Budget, overhead: int = 0) -> Trajectory:
    """Return a finished trajectory with its ledger in ``metadata["ledger"]``: one entry for each turn."""
    bill = _Bill.of(trajectory, budget, overhead)
    entries = tuple(bill.entry(turns, bill.plan(turns)) for turns in range(len(trajectory.turns)))
    ledger = Ledger(budget.policy, budget.max_tokens, budget.max_images, entries)
    return replace(trajectory, metadata={**trajectory.metadata, "ledger": ledger.as_json()})


_Plan: TypeAlias = Mapping[int, Size | None]
"""What becomes of crops, by their number in the conversation: another size, or ``None``: left out."""


@dataclass(frozen=True, slots=True)
class _Bill:
    """What the parts of a conversation cost.

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
    def of(cls, episode: Trajectory, budget: Budget, overhead: int) -> _Bill:
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
        if self.budget.policy == "refuse":
            return plan
        while oldest_first and self._too_many(self.entry(turns, plan)):
            plan[oldest_first.pop(0)] = None
        dropped, plan = plan, self._resized(turns, plan)
        dear = [number for number in oldest_first if self._saves(plan.get(number) or sizes[number])]
        while dear and self._too_long(self.entry(turns, plan)):
            dropped[dear.pop(0)] = None
            plan = self._resized(turns, dropped)
        return plan

    def _resized(self, turns: int, dropped: dict[int, Size | None]) -> dict[int, Size | None]:
        return self._shrunk(turns, dropped) if self.budget.policy == "shrink" else dict(dropped)

    def entry(self, turns: int, plan: _Plan) -> Entry:
        """Return what the request after some turns holds."""
        sizes = self._numbered(turns)
        shown = [plan.get(number, size) for number, size in enumerate(sizes)]
        left = [size for size in shown if size is not None]
        note = self.budget.count_tokens(LEFT_OUT)
        return Entry(
            text_tokens=self.texts[turns] + IMAGE_MARKS * len(left) + note * (len(shown) - len(left)),
            visual_tokens=sum(map(self.budget.family.visual_tokens, left)),
            images=len(left),
            dropped=tuple(number for number, size in enumerate(shown) if size is None),
            shrunk=tuple((number, *size) for number, size in sorted(plan.items()) if size is not None),
        )

    def check(self, entry: Entry) -> None:
        """Raise if a request holds too much."""
        budget = self.budget
        if self._too_many(entry):
            held, limit, name = f"{entry.images} images", budget.max_images, "max_images"
        elif self._too_long(entry):
            held = f"{entry.tokens} tokens ({entry.visual_tokens} of {entry.images} images)"
            limit, name = budget.max_tokens, "max_tokens"
        else:
            return
        remedy = "policy='drop' or 'shrink'" if budget.policy == "refuse" else "a smaller view budget"
        raise AgentError(
            f"the conversation holds {held}, the budget is {name}={limit}: give a larger one (a local model's own is "
            f"what its context leaves beside the longest message: let that be shorter), or use {remedy}"
        )

    def _saves(self, size: Size) -> bool:
        """Whether an image costs more than the note in its place."""
        return IMAGE_MARKS + self.budget.family.visual_tokens(size) > self.budget.count_tokens(LEFT_OUT)

    def _numbered(self, turns: int) -> list[Size]:
        return [*self.own, *(size for crops in self.crops[:turns] for size in crops)]

    def _too_many(self, entry: Entry) -> bool:
        return self.budget.max_images is not None and entry.images > self.budget.max_images

    def _too_long(self, entry: Entry) -> bool:
        return self.budget.max_tokens is not None and entry.tokens > self.budget.max_tokens

    def _shrunk(self, turns: int, plan: dict[int, Size | None]) -> dict[int, Size | None]:
        """Lower the most pixels that a crop may have, step by step, until the request fits.

        The steps are fixed, so that sizes stay the same over most turns, and servers find what they have read before.
        """
        sizes = self._numbered(turns)
        crops = [number for number in range(len(self.own), len(sizes)) if number not in plan]
        view = self.budget.family.view
        factor = view.factor if view else 28
        # A server enlarges what has fewer pixels than its family's least.
        least = float(max((_LEAST_SIDE * factor) ** 2, view.min_pixels if view else 0))
        most = max((sizes[number][0] * sizes[number][1] for number in crops), default=0)
        shrunk = plan
        cap = float(MOST_PIXELS)
        while cap > least and self._too_long(self.entry(turns, shrunk)):
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
        here = {place: plan[first + place] for place in range(len(images)) if first + place in plan}
        turns.append(_edited_turn(turn, here) if here else turn)
        first += len(images)
    return replace(episode, turns=tuple(turns))


def _edited_turn(turn: Turn, plan: _Plan) -> Turn:
    """Return a turn after a plan, by the places of images in its observation."""
    assert turn.observation is not None
    results, place = [], 0
    for result in turn.results:
        results.append(_edited_result(result, place, plan))
        place += len(result.images)
    return replace(turn, results=tuple(results), observation=_edited_message(turn.observation, plan))


def _edited_message(message: Message, plan: _Plan) -> Message:
    parts = message.text.split(IMAGE_PLACEHOLDER)
    text = parts[0]
    for place, part in enumerate(parts[1:]):
        text += (LEFT_OUT if place in plan and plan[place] is None else IMAGE_PLACEHOLDER) + part
    return Message(text, _left(message.images, 0, plan))


def _edited_result(result: ToolResult, first: int, plan: _Plan) -> ToolResult:
    images = _left(result.images, first, plan)
    text = result.text + LEFT_OUT * (len(result.images) - len(images))
    return replace(result, text=text, images=images)


def _left(images: Sequence[ImageRef], first: int, plan: _Plan) -> tuple[ImageRef, ...]:
    """Return the images that are left, in their sizes; the place of the first is ``first``."""
    left = []
    for place, image in enumerate(images, first):
        size = plan.get(place, image.size)
        if size is not None:
            left.append(image if size == image.size else ImageRef(Shrunk(image, size), name=image.name))
    return tuple(left)
