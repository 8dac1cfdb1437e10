"""What the page is told, as JSON: never more than the policy may know until the episode has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.human.shown import Shown
from deepeyes_env.core import ToolResult, Trajectory, Turn, letter_options
from deepeyes_env.envs.toolbox import Toolbox, toolbox_of
from deepeyes_env.images.frames import BBox, frame_size, from_native
from deepeyes_env.tools.signature import box_parameters
from deepeyes_env.trajectories.summary import RunningSummary

Phase: TypeAlias = Literal["working", "turn", "ended", "finished"]
"""The environment is at work, a message is awaited, an episode has ended, or there are no more."""


@dataclass(frozen=True)
class PageState:
    """What is on the page.

    Attributes:
        phase: See ``Phase``.
        episode: The episode; ``None`` before the first one, or if one could not even begin.
        shown: Its images.
        error: Why it failed, if it did.
    """

    phase: Phase
    episode: Trajectory | None = None
    shown: tuple[Shown, ...] = ()
    error: str = ""


class RunningScore:
    """How it goes so far.

    Attributes:
        total: Episodes of the whole run.
        failed: Episodes that could not be played to their end.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.failed = 0
        self._played = RunningSummary()

    @property
    def played(self) -> int:
        """Episodes that are recorded."""
        return self._played.summary.episodes

    def add(self, trajectory: Trajectory) -> None:
        """Count a recorded episode."""
        self._played.add(trajectory)

    def as_json(self) -> dict[str, Any]:
        """Return it for the page; without a judge there is neither accuracy nor reward."""
        summary = self._played.summary
        judged = summary.accuracy is not None
        return {
            "total": self.total,
            "played": summary.episodes,
            "failed": self.failed,
            "accuracy": _number(summary.accuracy) if summary.accuracy is not None else None,
            "reward": _number(summary.reward) if judged else None,
        }


def page_json(page: PageState, max_turns: int) -> dict[str, Any]:
    """Return the state of the page as JSON.

    All boxes, those of images included, are in the policy's coordinate frame.
    """
    episode = page.episode
    return {
        "phase": page.phase,
        "error": page.error,
        "episode": None if episode is None else _episode(episode, page.shown, max_turns),
        "outcome": _outcome(episode) if episode is not None and page.phase == "ended" else None,
    }


def _episode(episode: Trajectory, shown: Sequence[Shown], max_turns: int) -> dict[str, Any]:
    number = episode.metadata["episode"]
    toolbox = toolbox_of(episode)
    return {
        "number": number,
        "question": episode.sample.question,
        "options": letter_options(episode.sample.options),
        "system": episode.system_prompt,
        "prompt": episode.prompt.text,
        "images": [
            {
                "url": f"image/{number}/{index}",
                "size": one.image.size,
                "call": one.call,
                "region": None if one.region is None else _written(one.region, episode),
            }
            for index, one in enumerate(shown)
        ],
        "turns": [_turn(turn, episode, toolbox) for turn in episode.turns],
        "maxTurns": max_turns,
        "tools": [_tool(schema["function"]) for schema in toolbox.schemas],
        "frame": episode.frame,
        "extent": frame_size(episode.frame, episode.native_size, episode.view_size),
        "decimals": decimals(episode),
    }


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**function, "boxes": box_parameters(function)}


def decimals(episode: Trajectory) -> int:
    """Return how many decimals a box needs so that its last digit is no more than a native pixel."""
    width, height = frame_size(episode.frame, episode.native_size, episode.view_size)
    pixels = max(episode.native_size[0] / width, episode.native_size[1] / height)
    return max(0, math.ceil(math.log10(pixels) - 1e-9))


def _turn(turn: Turn, episode: Trajectory, toolbox: Toolbox) -> dict[str, Any]:
    thought = toolbox.protocol.thought_of(turn.action)
    return {"thought": thought, "answer": turn.answer, "calls": [_call(result, episode) for result in turn.results]}


def _call(result: ToolResult, episode: Trajectory) -> dict[str, Any]:
    return {
        "tool": result.call.name,
        "arguments": dict(result.call.arguments),
        "status": result.status,
        "error": result.error,
        "text": result.text,
        "box": None if result.box is None or not result.ok else _written(result.box, episode),
    }


def _outcome(episode: Trajectory) -> dict[str, Any]:
    sample = episode.sample
    return {
        "id": sample.id,
        "truth": sample.answer,
        "truths": [_written(box, episode) for box in sample.boxes],
        "answer": episode.answer,
        "right": episode.right,
        "reward": _number(episode.reward),
        "terms": [
            {"name": name, "raw": _number(term.raw), "weight": term.weight, "weighted": _number(term.weighted)}
            for name, term in episode.reward_terms.items()
        ],
        "bestIou": episode.best_iou,
        "stop": episode.stop_reason,
    }


def _written(box: BBox, episode: Trajectory) -> BBox:
    return from_native(box, episode.frame, episode.native_size, episode.view_size)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
