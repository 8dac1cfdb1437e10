"""What the page needs to know of an episode, as JSON that any browser parses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from deepeyes_env.call_effects import CALL_EFFECTS, CallEffect, call_effects_of
from deepeyes_env.core import Message, Sample, ToolResult, Trajectory, Turn
from deepeyes_env.images.frames import BBox, is_finite_box
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.regions import Region, overlap
from deepeyes_env.shown import Shown, looks_on, question_images, shown_images
from deepeyes_env.trajectories.summary import Summary

MAX_TEXT = 40_000
"""Characters of one text that the page holds; the record has all of it."""

LinkImage = Callable[[ImageRef], str]
"""Makes an image reachable from the page and returns its URL relative to it."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def episode(trajectory: Trajectory, number: int, system_prompt: int, link: LinkImage) -> dict[str, Any]:
    """Return one episode for the page.

    Args:
        trajectory: The episode.
        number: Its line number in the record, from 1.
        system_prompt: Index of its system prompt in the page's list of them.
        link: See ``LinkImage``.
    """
    sample = trajectory.sample
    return {
        "number": number,
        "id": _text(sample.id),
        "question": _text(sample.question),
        "truth": _text(sample.answer),
        "options": [_text(option) for option in sample.options],
        "answer": None if trajectory.answer is None else _text(trajectory.answer),
        "right": trajectory.right,
        "reward": _number(trajectory.reward),
        "terms": [
            {"name": name, "raw": _number(term.raw), "weight": _number(term.weight), "weighted": _number(term.weighted)}
            for name, term in trajectory.reward_terms.items()
        ],
        "shown": [_shown(shown, trajectory, link) for shown in shown_images(trajectory) or _unseen(sample)],
        "bestIou": trajectory.best_iou,
        "system": system_prompt,
        "prompt": _message(trajectory.prompt, link),
        "turns": _turns(trajectory, link),
        "stop": trajectory.stop_reason,
        "facts": _facts(trajectory),
    }


def header(summary: Summary, name: str, system_prompts: list[str]) -> dict[str, Any]:
    """Return what the page shows once: the run's name and summary, and the system prompts that episodes refer to."""
    return {
        "name": _text(name),
        "episodes": summary.episodes,
        "accuracy": _number(summary.accuracy),
        "reward": _number(summary.reward),
        "terms": [{"name": name, "weighted": _number(value)} for name, value in summary.reward_terms.items()],
        "calls": summary.tool_calls,
        "failed": [{"name": name, "count": count} for name, count in summary.failed_calls.items()],
        "iou": summary.iou,
        "turns": summary.turns,
        "stops": [{"name": name, "count": count} for name, count in summary.stop_reasons.items()],
        "systemPrompts": [_text(text) for text in system_prompts],
    }


def script_line(value: Any) -> str:
    """Return a value as a JavaScript string literal that holds its JSON.

    Pure ASCII, so no line separator or encoding can break it; ``<`` is escaped, so no text can end the script. A string
    for ``JSON.parse`` rather than a literal object: faster to read, and a key ``__proto__`` is only a key.
    """
    return json.dumps(json.dumps(value, allow_nan=False, separators=(",", ":"))).replace("<", "\\u003c")


def _unseen(sample: Sample) -> tuple[Shown, ...]:
    """Return the images of a question that were never shown, so that there is something to look at."""
    return question_images(sample.images, sample.images)


def _shown(shown: Shown, trajectory: Trajectory, link: LinkImage) -> dict[str, Any]:
    """Return an image that the policy saw, and the boxes on it, in native pixels of its region as it is held."""
    region, number = shown.region, shown.number
    truths = [region.sees(truth) for truth in trajectory.sample.regions] if region else []
    return {
        "number": number,
        "call": shown.call,
        "parent": shown.parent,
        "name": _text(shown.name),
        "view": link(shown.image),
        "stored": None if shown.call else link(trajectory.sample.images[number]),
        "size": region.size if region and not region.tilted else shown.image.size,
        "region": None if region is None else {**asdict(region), "box": _finite(region.box)},
        "truths": [box for box in truths if box is not None],
        "boxes": looks_on(trajectory, shown),
    }


def _finite(box: BBox) -> BBox | None:
    return box if is_finite_box(box) else None


def _turns(trajectory: Trajectory, link: LinkImage) -> list[dict[str, Any]]:
    effects = {each.call: each for each in call_effects_of(trajectory) or ()}
    numbers = count()
    return [
        _turn(turn, trajectory.sample.regions, link, [effects.get(next(numbers)) for _ in turn.results])
        for turn in trajectory.turns
    ]


def _turn(
    turn: Turn, truths: tuple[Region, ...], link: LinkImage, effects: Sequence[CallEffect | None]
) -> dict[str, Any]:
    calls = zip(turn.results, effects, strict=True)
    return {
        "action": _text(turn.action),
        "calls": [{**_call(result, truths, link), "effect": _effect(effect)} for result, effect in calls],
        "skipped": turn.skipped,
        "observation": None if turn.observation is None else _message(turn.observation, link),
    }


def _effect(effect: CallEffect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {"value": effect.effect, "low": effect.low, "high": effect.high, "verdict": effect.verdict}


def _call(result: ToolResult, truths: tuple[Region, ...], link: LinkImage) -> dict[str, Any]:
    box = None if result.box is None else _finite(result.box)
    look = result.look if box else None
    return {
        "tool": _text(result.call.name),
        "arguments": _text(json.dumps(dict(result.call.arguments), ensure_ascii=False)),
        "status": result.status,
        "error": _text(result.error),
        "text": _text(result.text),
        "images": [link(image) for image in result.images],
        "box": box,
        "source": result.source,
        "about": result.about,
        "iou": max((overlap(look, truth) for truth in truths), default=None) if look else None,
        "seconds": _number(result.seconds),
    }


def _message(message: Message, link: LinkImage) -> dict[str, Any]:
    return {"text": _text(message.text), "images": [link(image) for image in message.images]}


def _facts(trajectory: Trajectory) -> list[tuple[str, str]]:
    facts = [
        ("sample", trajectory.sample.id),
        ("data source", trajectory.sample.data_source),
        ("toolbox", trajectory.toolbox),
        ("frame", trajectory.frame),
    ]
    facts += [(str(key), _plain(value)) for key, value in trajectory.metadata.items() if key != CALL_EFFECTS]
    facts += [(f"sample {key}", _plain(value)) for key, value in trajectory.sample.metadata.items()]
    return [(_text(key), _text(value)) for key, value in facts if value]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(text: str) -> str:
    """Shorten a text that would choke a browser; lone surrogates, which have no glyph, become U+FFFD."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}\n… {len(text) - MAX_TEXT:,} more characters in the record"
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
