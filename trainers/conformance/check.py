"""check: play the recorded episodes with a model directory, and compare all ways to write them as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from jinja2 import TemplateError

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.trainers.conformance import ways
from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.drift import Cause, Drift, Encoded, first_drift
from deepeyes_env.trainers.conformance.recordings import RECORDINGS, Recording, play

ENDPOINTS: dict[str, Callable[[ModelDirectory, Trajectory], list[Encoded]]] = {
    "vLLM endpoint": ways.by_vllm,
    "transformers endpoint": ways.by_transformers,
}


REMEDIES: dict[Cause, str] = {
    "template": "the chat template writes a message otherwise than it was sampled, or once it is no longer the last; "
    "or chat_template.json holds another template than the tokenizer: use one that keeps messages as they are",
    "retokenization": "the tokenizer merges what a message begins or ends with into the marks around it: train on the "
    "ids that were sampled, and have servers return them (OpenAIAgent(tokens=True)) instead of encoding text again",
    "image count": "the files of the model do not belong together: {sides}",
    "truncated image": "keep more tokens, show smaller images, or leave an observation out whole, as our own trainer "
    "and loops do; a tokenizer_config.json with truncation and max_length cuts too",
    "truncation": "keep more tokens; a tokenizer_config.json with truncation and max_length cuts too",
    "mask": "an encoding trains on tokens that the policy did not write: report it",
}
"""What to do about each cause."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A way that gives an episode other tokens than our trainer has.

    Attributes:
        recording: Name of the recorded episode.
        way: The way.
        request: Number of the message, from 1, whose prompt differs; 0 for the whole episode.
        drift: Where, and why.
        remedy: What to do about it.
    """

    recording: str
    way: str
    request: int
    drift: Drift
    remedy: str

    def __str__(self) -> str:
        where = f", prompt of message {self.request}" if self.request else ""
        drift = self.drift
        return f"{drift.cause}: {self.recording!r}, {self.way}{where}, token {drift.position}: {drift.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        findings: The first drift of each way in each episode that has one.
        compared: How many encodings were compared by way.
        notes: What was not compared, and why.
    """

    findings: tuple[Finding, ...]
    compared: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Comparison:
    model: ModelDirectory
    findings: list[Finding] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str, way: str, pairs: Iterator[tuple[int, Encoded, Encoded]]) -> None:
        """Compare the numbered pairs of a way in an episode up to the first that differs."""
        for number, ours, theirs in pairs:
            self.compared[way] = self.compared.get(way, 0) + 1
            drift = first_drift(ours, theirs, self.model.tokenizer, self.model.image_token)
            if drift is not None:
                remedy = REMEDIES[drift.cause].format(sides=self.model.image_sides())
                return self.findings.append(Finding(name, way, number, drift, remedy))


def check(folder: str | Path, max_tokens: int | None = None) -> Report:
    """Compare all ways to write the recorded episodes as tokens.

    Args:
        folder: A model directory; its weights are not read.
        max_tokens: Most tokens that a trainer or server of yours keeps of an episode; by default the model's context.

    Raises:
        UsageError: There is no such directory, it lacks a file, or holds a model of another kind; or its chat template
            refuses a conversation.
        DataError: A file of it is damaged.
    """
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"max_tokens={max_tokens}: must be at least 1")
    try:
        model = ModelDirectory.load(folder)
        return _check(model, min(max_tokens or model.context, model.context))
    except TemplateError as error:
        raise UsageError(f"the chat template in {str(folder)!r} refuses a conversation: {error}") from error


def _check(model: ModelDirectory, most: int) -> Report:
    compare = _Comparison(model)
    notes = []
    for recording in RECORDINGS:
        episode = play(recording, model)
        if not recording.native:
            _compare_text(compare, recording, episode, most)
        elif ways.writes_calls(model):
            calls_alone = play(recording.with_calls_alone(), model)
            for way, played in (("vLLM endpoint", episode), ("transformers endpoint", calls_alone)):
                compare(recording.name, way, _chained(ENDPOINTS[way](model, played), played))
            notes.append(
                f"{recording.name!r}, transformers endpoint: compared without what messages say beside their calls, "
                "which transformers serve drops; play a thinking policy behind another server, or with text protocols"
            )
        else:
            notes.append(
                f"{recording.name!r} was not compared: the chat template writes no tool calls, so an endpoint would "
                "forget them; play this model with text protocols"
            )
    return Report(tuple(compare.findings), compare.compared, tuple(notes))


def _compare_text(compare: _Comparison, recording: Recording, episode: Trajectory, most: int) -> None:
    model, name = compare.model, recording.name
    ours = ways.trained(model, episode)
    starts = _starts(ours, episode)
    compare(name, "transformers agent", _prompts(ours, starts, ways.played(model, episode)))
    compare(name, "loop in verl", iter([(0, ours, ways.in_verl(model, recording, episode))]))
    for way, encode in ENDPOINTS.items():
        compare(name, way, _prompts(ours, starts, encode(model, episode)))
    compare(name, f"cut at {most} tokens", iter([(0, ours, ours.upto(most))]))


def _starts(ours: Encoded, episode: Trajectory) -> list[int]:
    """Return where each message of the policy begins."""
    starts, place = [], 0
    for turn in episode.turns:
        assert turn.tokens is not None
        place = ours.mask.index(True, place)
        starts.append(place)
        place += len(turn.tokens.ids)
    return starts


def _prompts(ours: Encoded, starts: Sequence[int], theirs: Sequence[Encoded]) -> Iterator[tuple[int, Encoded, Encoded]]:
    for number, (start, prompt) in enumerate(zip(starts, theirs, strict=True), 1):
        yield number, Encoded(ours.ids[:start]), prompt


def _chained(prompts: Sequence[Encoded], episode: Trajectory) -> Iterator[tuple[int, Encoded, Encoded]]:
    """Compare each prompt's beginning with the one before and what the policy wrote after it."""
    for number, ((before, after), turn) in enumerate(zip(pairwise(prompts), episode.turns, strict=False), 2):
        assert turn.tokens is not None
        expected = Encoded((*before.ids, *turn.tokens.ids))
        yield number, expected, after.upto(len(expected.ids))
