"""Our environment behind OpenEnv 0.10: a server that plays, and its client.

    uvicorn examples.openenv_env:app --port 8000

    with DeepEyesClient(base_url="http://127.0.0.1:8000").sync() as client:
        messages = client.reset(seed=0).observation.messages
        result = client.step(Said(message="<answer>A</answer>"))

Observations are messages of chat completions with images as data URLs, not nested lists of numbers.
"""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env.conversation import openai_messages


class Said(Action):
    """What the policy wrote."""

    message: str


class Shown(Observation):
    """Messages that are new to the policy, and at the end what the rubric said."""

    messages: list[dict[str, Any]] = Field(default_factory=list)
    terms: dict[str, float] = Field(default_factory=dict)
    stop_reason: str = ""


class DeepEyesServer(Environment[Said, Shown, State]):
    """Plays one episode at a time; OpenEnv makes one for each session."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self.env = gym.make("VisualToolbox-v2", dataset=os.environ.get("DEEPEYES_DATASET", "visual_search"))
        self.now, self.told = State(), 0

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Shown:
        """Begin an episode; other arguments are options of the environment's own ``reset``."""
        _, info = self.env.reset(seed=seed, options=options)
        self.now = State(episode_id=episode_id, step_count=0)
        messages = openai_messages(info["trajectory"])
        self.told = len(messages)
        return Shown(messages=messages, metadata={"sample_id": info["sample_id"]})

    def step(self, action: Said, timeout_s: float | None = None, **_: Any) -> Shown:
        """Say what the policy wrote."""
        _, reward, terminated, truncated, info = self.env.step(action.message)
        self.now.step_count += 1
        messages = openai_messages(self.env.unwrapped.trajectory)
        new, self.told = messages[self.told + 1 :], len(messages)
        terms = {name: term.raw for name, term in info.get("reward_terms", {}).items()}
        stop = info.get("stop_reason", "")
        return Shown(messages=new, terms=terms, stop_reason=stop, reward=reward, done=terminated or truncated)

    @property
    def state(self) -> State:
        """Say how many steps were taken."""
        return self.now


class DeepEyesClient(EnvClient[Said, Shown, State]):
    """Says what the policy wrote and gives back what it sees next."""

    def _step_payload(self, action: Said) -> dict[str, Any]:
        return action.model_dump()

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[Shown]:
        seen = Shown(**{"done": payload.get("done", False), "reward": payload.get("reward"), **payload["observation"]})
        return StepResult(observation=seen, reward=payload.get("reward"), done=payload.get("done", False))

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)


app = create_app(DeepEyesServer, Said, Shown, env_name="deepeyes", max_concurrent_envs=64)
