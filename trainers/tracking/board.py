"""RL Logging Board: every episode with its tokens, as https://github.com/HarderThenHarder/RLLoggingBoard reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepeyes_env.core import Trajectory
from deepeyes_env.trainers.tracking.recorders import continued

FILE = "rollout_data_rank0.jsonl"


class LoggingBoard:
    """Writes a line for each episode that is learned from.

    Args:
        folder: Folder of the log; its parent is what the board is pointed at.
        tokenizer: Spells out tokens.
        step: Step that the run resumes from; later lines are removed.
    """

    def __init__(self, folder: Path, tokenizer: Any, step: int = 0) -> None:
        self._file = continued(folder / FILE, step)
        self._tokenizer = tokenizer

    def write(self, step: int, trajectories: Sequence[Trajectory]) -> None:
        """Write the episodes of a step."""
        for trajectory in trajectories:
            self._file.append(json.dumps({"step": step, **self._line(trajectory)}, ensure_ascii=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _line(self, trajectory: Trajectory) -> dict[str, Any]:
        tokens = [turn.tokens for turn in trajectory.turns if turn.tokens]
        ids = [token for each in tokens for token in each.ids]
        return {
            "prompt": f"{trajectory.system_prompt}\n{trajectory.prompt.text}",
            "response": trajectory.response,
            "response_tokens": [self._tokenizer.decode([token]) for token in ids],
            "logprobs": [logprob for each in tokens for logprob in each.logprobs],
            "token_rewards": [0.0] * (len(ids) - 1) + [trajectory.reward] * bool(ids),
            "reward": trajectory.reward,
            "ground_truth": trajectory.sample.answer,
        }
