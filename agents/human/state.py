"""What the page is told, as JSON: never more than the policy may know until the episode has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.human.pad import marks_on, pad_of
from deepeyes_env.core import ToolResult, Trajectory, Turn
from deepeyes_env.envs.looking import written_on
from deepeyes_env.envs.toolbox import Toolbox, toolbox_of
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.regions import Region
from deepeyes_env.option_letters import letter_options
from deepeyes_env.shown import Shown, question_image
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

    Boxes of calls and of the ground truth are in the policy's coordinate frame, on the question's image that they lie
    on; see ``deepeyes_env.agents.human.pad`` for those of images.
    """
    episode = page.episode
    ended = page.phase == "ended"
    return {
        "phase": page.phase,
        "error": page.error,
        "episode": None if episode is None else _episode(episode, page.shown, max_turns, ended=ended),
        "outcome": _outcome(episode) if episode is not None and ended else None,
    }


def _episode(episode: Trajectory, shown: Sequence[Shown], max_turns: int, *, ended: bool) -> dict[str, Any]:
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
                "url": f"image/{number}/{one.number}",
                "size": one.image.size,
                "call": one.call,
                "name": one.name,
                "pad": None if (pad := pad_of(episode, one)) is None else asdict(pad),
                "marks": list(marks_on(episode, one, truths=ended)),
            }
            for one in shown
        ],
        "turns": [_turn(turn, episode, toolbox) for turn in episode.turns],
        "maxTurns": max_turns,
        "tools": [_tool(schema["function"], toolbox.addressing.argument) for schema in toolbox.schemas],
        "frame": episode.frame,
    }


def _tool(function: Mapping[str, Any], address: str) -> dict[str, Any]:
    return {**function, "boxes": box_parameters(function), "address": address}


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
        "box": None if result.look is None else _written(result.look, episode),
    }


def _outcome(episode: Trajectory) -> dict[str, Any]:
    sample = episode.sample
    return {
        "id": sample.id,
        "truth": sample.answer,
        "truths": [_written(truth, episode) for truth in sample.regions],
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


def _written(place: Region, episode: Trajectory) -> BBox:
    return written_on(episode, question_image(episode, place.image), place.box)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
