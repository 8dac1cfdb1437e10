"""The nouns that everything else passes around: samples, tool calls and their results, turns, trajectories.

All of them are frozen. A trajectory is the one currency between environments, agents, trainers, judges and viewers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from deepeyes_env.errors import UsageError
from deepeyes_env.fast_init import fast_init
from deepeyes_env.images.frames import BBox, Frame, Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.regions import Origin, Region, overlap
from deepeyes_env.prompt_messages import PromptMessage, as_prompt_messages
from deepeyes_env.sample_fields import box_images_of, box_of, image_refs_of
from deepeyes_env.telling import quoted

IMAGE_PLACEHOLDER = "<image>"
"""Stands in a text for one image of the accompanying list, in order."""

IMAGE_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands in what a tool says for one of its images, if it says where each belongs; otherwise they follow its text."""


def is_right(verdict: float) -> bool:
    """Whether a verdict, 0 to 1, finds an answer more right than wrong."""
    return verdict > 0.5


UNKNOWN_TOOLS = "unknown_tools"
"""Key in a trajectory's metadata: the tools that the row's own prompt names and the toolbox lacks."""

SOLUTION = "solution"
"""Key in a sample's metadata: the calls that find its answer out, in order, each with ``name`` and ``arguments``."""

ACCEPTED = "accepted_answers"
"""Key in a sample's metadata: a list of answers that are as right as its ``answer``, where that is free text."""

CallStatus: TypeAlias = Literal["ok", "malformed", "unknown_tool", "bad_arguments", "failed", "skipped"]
"""What became of a tool call.

``ok``: it ran. ``malformed``: it was not a call in the protocol's format. ``unknown_tool``: no tool has that name.
``bad_arguments``: the arguments do not fit the tool's schema or rules (a box outside the image, say). ``failed``: the
tool itself raised. ``skipped``: the protocol runs fewer calls a message than the message held.
"""

StopReason: TypeAlias = Literal[
    "", "answer", "format_error", "max_turns", "image_budget", "token_budget", "tool_timeout", "error"
]
"""Why an episode ended; empty while it goes on.

``answer`` and ``format_error`` (a message with neither a call nor an answer) terminate an episode; the others truncate
it. ``tool_timeout``: a tool did not return. ``error``: a tool tried to end the process; or the environment itself
failed, which vector environments say.
"""


FinishReason: TypeAlias = Literal["", "stop", "length", "tool_calls", "content_filter", "refusal", "other"]
"""Why a message ended, in the words of OpenAI's ``finish_reason``; empty where the agent does not say.

``stop``: the policy ended it. ``length``: it was cut at max new tokens. ``tool_calls``: it ends in calls that a server
took apart. ``content_filter``: the server cut it or left it out. ``refusal``: the model refused, and said so apart from
the message. ``other``: another reason.
"""


@fast_init
@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one or more images.

    Attributes:
        id: Names the sample in errors, records and reports; unique within a data set.
        question: The question. May place the images with ``<image>``, once per image; otherwise they come first.
        answer: The right answer; with ``options``, the text of the right option.
        images: One image or a sequence of them: encoded bytes, a path, a PIL image, an array or an ``ImageRef``. Stored
            as a tuple of ``ImageRef``.
        options: Texts of the choices of a multiple-choice question. The environment shuffles them by seed.
        boxes: Ground-truth boxes ``(x1, y1, x2, y2)``, each in native pixels of its image.
        env_name: Name of the toolbox this sample is played with. ``""`` (default): the environment's own. ``None``:
            an ordinary question without tools, answered in one message (hybrid training).
        data_source: Where the sample comes from; rubrics may route by it.
        metadata: Anything else, JSON-able if the trajectory is to be written to disk.
        messages: The row's own prompt, word for word, which an environment may open the episode with.
        box_images: Index of the image of each box, from 0; empty where all of them lie on the first.

    Raises:
        UsageError: No images; a wrong number of ``<image>`` placeholders; an answer that is not among the options; a
            box that is not four numbers with x1 < x2 and y1 < y2, or on an image that is not there; messages that are
            none.
    """

    id: str
    question: str
    answer: str
    images: tuple[ImageRef, ...]
    options: tuple[str, ...] = ()
    boxes: tuple[BBox, ...] = ()
    env_name: str | None = ""
    data_source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[PromptMessage, ...] = ()
    box_images: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", image_refs_of(self.images, self.id))
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "boxes", tuple(box_of(box, self.id) for box in self.boxes))
        object.__setattr__(self, "messages", as_prompt_messages(self.messages, self.id))
        if not self.images:
            raise UsageError(f"sample {quoted(self.id)}: has no images; give at least one")
        if self.box_images != ():
            numbers = box_images_of(self.box_images, len(self.boxes), len(self.images), self.id)
            object.__setattr__(self, "box_images", numbers)
        placeholders = self.question.count(IMAGE_PLACEHOLDER)
        if placeholders not in (0, len(self.images)):
            raise UsageError(
                f"sample {quoted(self.id)}: question has {placeholders} {IMAGE_PLACEHOLDER} placeholders for "
                f"{len(self.images)} images; write one per image, or none"
            )
        if self.options and self.answer not in self.options:
            raise UsageError(
                f"sample {quoted(self.id)}: answer {quoted(self.answer)} is not one of the options "
                f"{quoted(list(self.options))}; give the text of the right option"
            )

    @property
    def regions(self) -> tuple[Region, ...]:
        """The ground-truth boxes with their images."""
        return tuple(map(Region, self.box_images or (0,) * len(self.boxes), self.boxes))


@fast_init
@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a policy asks a tool to do.

    Attributes:
        name: Name of the tool.
        arguments: Arguments as the policy wrote them, boxes in the policy's coordinate frame.
        id: Identifier given by an endpoint with native tool calls; empty otherwise.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@fast_init
@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of one tool call.

    Attributes:
        call: The call; its name is empty if it could not be parsed.
        status: See ``CallStatus``.
        error: What was wrong and how to write it right, as told to the policy; empty for ``ok``.
        text: Text that the tool returned.
        images: Images that the tool returned, as shown to the policy.
        box: The box that was used, in native pixels of the question's image that ``source`` names; ``None`` for a tool
            without a box, and for a box on a drawing.
        seconds: Wall-clock time that the tool took; two results are equal whatever it was.
        origin: What the call was about and what its images show; ``None`` for a zoom into the first image.
    """

    call: ToolCall
    status: CallStatus = "ok"
    error: str = ""
    text: str = ""
    images: tuple[ImageRef, ...] = ()
    box: BBox | None = None
    seconds: float = field(default=0.0, compare=False)
    origin: Origin | None = None

    @property
    def source(self) -> int:
        """Index of the question's image on which the box lies, from 0."""
        return self.origin.source if self.origin else 0

    @property
    def about(self) -> int:
        """Number of the shown image that the call was about, among all images of the episode, from 0."""
        return self.origin.about if self.origin else 0

    @property
    def names(self) -> tuple[str, ...]:
        """What is written before the returned images, where calls can name them."""
        return self.origin.names if self.origin else ()

    @property
    def regions(self) -> tuple[Region | None, ...]:
        """What part of which of the question's images each returned image is; ``None`` for one that is none."""
        if self.origin is None:
            return (None if self.box is None else Region(0, self.box),) * len(self.images)
        return self.origin.regions

    @property
    def look(self) -> Region | None:
        """Where the call looked closer, if it ran and had a box."""
        return Region(self.source, self.box) if self.box is not None and self.status == "ok" else None

    @property
    def ok(self) -> bool:
        """Whether the call ran."""
        return self.status == "ok"


@fast_init
@dataclass(frozen=True, slots=True)
class Message:
    """A text with images: what the environment says to the policy.

    Attributes:
        text: Holds one ``<image>`` placeholder per image.
        images: The images as shown: fitted to the view budget.
        prefill: What the policy's next message begins with: written for it, where its tokens are ours to write.
    """

    text: str
    images: tuple[ImageRef, ...] = ()
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class PolicyTokens:
    """The tokens of one action, where the policy's backend has them; all three have the same length.

    Attributes:
        ids: Token ids that the policy wrote.
        logprobs: Log-probability of each token at sampling time.
        mask: 1 for tokens to train on, 0 for others.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    mask: tuple[int, ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message and what the environment did with it.

    Attributes:
        action: The message, as text in the environment's protocol.
        answer: The final answer in it; ``None`` if there was none.
        results: One result for each tool call that was run or refused, in order.
        skipped: How many further calls of the message were not looked at.
        observation: What the environment replied; ``None`` when the message ended the episode.
        tokens: The policy's tokens, where known.
        finish_reason: Why the message ended, where known; see ``FinishReason``.
    """

    action: str
    answer: str | None = None
    results: tuple[ToolResult, ...] = ()
    skipped: int = 0
    observation: Message | None = None
    tokens: PolicyTokens | None = None
    finish_reason: FinishReason = ""


@fast_init
@dataclass(frozen=True, slots=True)
class RewardTerm:
    """One term of a rubric, evaluated.

    Attributes:
        raw: What the term's function returned.
        weight: Its weight in the rubric.
    """

    raw: float
    weight: float = 1.0

    @property
    def weighted(self) -> float:
        """The term's share of the reward: ``weight * raw``."""
        return self.weight * self.raw


@fast_init
@dataclass(frozen=True, slots=True)
class Trajectory:
    """An episode, running or finished: a sample, the opening prompt, the turns, and the reward once it is known.

    Attributes:
        sample: The question, its options in the order shown.
        prompt: The first user message: the question and the views of its images.
        system_prompt: The system prompt; may be empty.
        toolbox: Name of the toolbox that the episode was played with; empty for an ordinary question.
        frame: Coordinate frame in which the policy writes boxes.
        native_size: ``(width, height)`` of the first image as stored.
        turns: The turns so far.
        reward: Total reward; 0 until the episode ends or when no rubric was set.
        reward_terms: Every term of the rubric by name; empty when unscored.
        correct: How right the judge found the answer, from 0 to 1, whatever the rubric made of it; 0 without an answer;
            ``None`` while nobody has judged.
        terminated: The policy ended the episode (an answer, or a message with neither call nor answer).
        truncated: A limit ended the episode.
        stop_reason: See ``StopReason``.
        metadata: JSON-able extras: agent, seed, environment id.
    """

    sample: Sample
    prompt: Message
    system_prompt: str = ""
    toolbox: str = ""
    frame: Frame = "view"
    native_size: Size = (0, 0)
    turns: tuple[Turn, ...] = ()
    reward: float = 0.0
    reward_terms: Mapping[str, RewardTerm] = field(default_factory=dict)
    correct: float | None = None
    terminated: bool = False
    truncated: bool = False
    stop_reason: StopReason = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated

    @property
    def answer(self) -> str | None:
        """The final answer, if the last message gave one."""
        return self.turns[-1].answer if self.turns else None

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The results of all tool calls, in order."""
        return tuple(result for turn in self.turns for result in turn.results)

    @property
    def response(self) -> str:
        """Everything the policy wrote, one message after another."""
        return "\n".join(turn.action for turn in self.turns)

    @property
    def view_size(self) -> Size:
        """``(width, height)`` of the first image as shown."""
        return self.prompt.images[0].size

    @property
    def image_count(self) -> int:
        """How many images have been shown, the sample's own included."""
        return len(self.prompt.images) + sum(len(turn.observation.images) for turn in self.turns if turn.observation)

    @property
    def right(self) -> bool | None:
        """Whether the judge found the answer more right than wrong; ``None`` while nobody has judged."""
        return None if self.correct is None else is_right(self.correct)

    @property
    def overlong(self) -> bool:
        """Whether a message was cut at max new tokens, or the token budget ended the episode."""
        return self.stop_reason == "token_budget" or any(turn.finish_reason == "length" for turn in self.turns)

    @property
    def used_tool(self) -> bool:
        """Whether a tool call returned an image: what DeepEyes' tool reward pays for."""
        return any(result.ok and result.images for result in self.results)

    @property
    def looks(self) -> tuple[Region, ...]:
        """The boxes of the calls that ran, with their images: where the policy looked closer."""
        return tuple(look for result in self.results if (look := result.look) is not None)

    @property
    def best_iou(self) -> float | None:
        """The highest IoU of a zoom with a ground-truth box; ``None`` without either."""
        return max((overlap(look, truth) for look in self.looks for truth in self.sample.regions), default=None)

    def extended(self, turn: Turn) -> Trajectory:
        """Return this trajectory with one more turn."""
        return replace(self, turns=(*self.turns, turn))

    def scored(self, terms: Mapping[str, RewardTerm], correct: float | None = None) -> Trajectory:
        """Return this trajectory with the terms of a rubric and their total as its reward.

        Args:
            terms: Every term by name.
            correct: The judge's verdict; ``None`` keeps the one that is there.
        """
        reward = float(sum(term.weighted for term in terms.values()))
        return replace(
            self, reward_terms=terms, reward=reward, correct=self.correct if correct is None else float(correct)
        )
