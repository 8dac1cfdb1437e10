"""PlainInfo: an ``info`` of numbers and texts, with the same keys at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym

from deepeyes_env.core import ToolResult, Trajectory
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import UsageTypeError

UNKNOWN = -1.0
"""``correct`` as long as nobody has judged."""

Plain: TypeAlias = "int | float | str"


class PlainInfo(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Say in ``info`` only what any library can take: numbers and texts, under the same keys at reset and every step.

    Libraries that turn ``info`` into tensors, arrays of records or JSON know nothing of trajectories and results of
    calls. Put this directly around the environment, under wrappers that add to ``info``. What is left out is still at
    ``env.unwrapped.trajectory``.

    - ``turn``: turns of the episode so far.
    - ``calls``, ``calls_failed``, ``calls_skipped``: calls of this turn that were run, that failed, that were not run.
    - ``correct``: the judge's verdict at the end, from 0 to 1; before and without one -1.
    - ``reward_NAME`` for each term of the rubric: its weighted value at the end, before 0.
    - texts, unless ``text`` is false: ``sample_id``; ``error`` of the first call that failed; ``answer``;
      ``stop_reason``. Each is empty where there is none.

    Args:
        env: A ``VisualToolboxEnv``.
        terms: Names of the rubric's terms; by default those of the environment's own rubric.
        text: Whether there are texts; Gymnasium's ``NumpyToTorch`` takes numbers only.

    Raises:
        UsageTypeError: The environment inside is no ``VisualToolboxEnv``.
    """

    def __init__(self, env: gym.Env[Any, Any], terms: Sequence[str] | None = None, text: bool = True) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, terms=terms, text=text)
        gym.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, VisualToolboxEnv):
            raise UsageTypeError(f"PlainInfo wraps a VisualToolboxEnv, not {type(inner).__name__}")
        self._env = inner
        known = inner.rubric.term_names if inner.rubric else ()
        self._terms = known if terms is None else tuple(terms)
        self._text = text

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, _ = self.env.reset(seed=seed, options=options)
        return observation, self._plain({})

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take the policy's next message."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._plain(info)

    def _plain(self, info: dict[str, Any]) -> dict[str, Plain]:
        episode: Trajectory = self._env.trajectory
        calls: Sequence[ToolResult] = info.get("calls", ())
        failed = [call for call in calls if not call.ok]
        plain: dict[str, Plain] = {
            "turn": len(episode.turns),
            "calls": len(calls),
            "calls_failed": len(failed),
            "calls_skipped": int(info.get("skipped_calls", 0)),
            "correct": UNKNOWN if episode.correct is None else float(episode.correct),
        }
        for name in self._terms:
            term = episode.reward_terms.get(name)
            plain[f"reward_{name}"] = float(term.weighted) if term else 0.0
        if self._text:
            plain["sample_id"] = episode.sample.id
            plain["error"] = failed[0].error if failed else ""
            plain["answer"] = episode.answer or ""
            plain["stop_reason"] = episode.stop_reason
        return plain
