"""What the page is told, as JSON: never more than the policy may know until the episode has ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.human.shown import Shown
from deepeyes_env.agents.looking import toolbox_of
from deepeyes_env.core import ToolResult, Trajectory, Turn
from deepeyes_env.envs.prompt import letter_options
from deepeyes_env.images.frames import BBox, frame_size, from_native
from deepeyes_env.trajectories.summary import ACCURACY_TERM, best_iou, is_right

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


@dataclass
class RunningScore:
    """How it goes so far.

    Attributes:
        total: Episodes of the whole run.
        played: Episodes that are recorded.
        failed: Episodes that could not be played to their end.
        judged: Recorded episodes with an accuracy term.
        accuracy: Sum of their raw accuracy terms.
        reward: Sum of the rewards.
    """

    total: int
    played: int = 0
    failed: int = 0
    judged: int = 0
    accuracy: float = 0.0
    reward: float = 0.0

    def add(self, trajectory: Trajectory) -> None:
        """Count a recorded episode."""
        self.played += 1
        self.reward += trajectory.reward
        if ACCURACY_TERM in trajectory.reward_terms:
            self.judged += 1
            self.accuracy += trajectory.reward_terms[ACCURACY_TERM].raw

    def as_json(self) -> dict[str, Any]:
        """Return it for the page, with means instead of sums."""
        return {
            "total": self.total,
            "played": self.played,
            "failed": self.failed,
            "accuracy": _number(self.accuracy / self.judged) if self.judged else None,
            "reward": _number(self.reward / self.played) if self.judged else None,
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
        "turns": [_turn(turn, episode) for turn in episode.turns],
        "maxTurns": max_turns,
        "tools": [tool.schema["function"] for tool in toolbox_of(episode).make_tools().values()],
        "frame": episode.frame,
        "extent": frame_size(episode.frame, episode.native_size, episode.view_size),
        "decimals": decimals(episode),
    }


def decimals(episode: Trajectory) -> int:
    """Return how many decimals a box needs so that its last digit is no more than a native pixel."""
    width, height = frame_size(episode.frame, episode.native_size, episode.view_size)
    pixels = max(episode.native_size[0] / width, episode.native_size[1] / height)
    return max(0, math.ceil(math.log10(pixels) - 1e-9))


def _turn(turn: Turn, episode: Trajectory) -> dict[str, Any]:
    thought = turn.action.partition("</think>")[0].removeprefix("<think>")
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
        "right": is_right(episode),
        "reward": _number(episode.reward),
        "terms": [
            {"name": name, "raw": _number(term.raw), "weight": term.weight, "weighted": _number(term.weighted)}
            for name, term in episode.reward_terms.items()
        ],
        "bestIou": best_iou(episode),
        "stop": episode.stop_reason,
    }


def _written(box: BBox, episode: Trajectory) -> BBox:
    return from_native(box, episode.frame, episode.native_size, episode.view_size)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
