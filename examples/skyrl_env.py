"""Our environment as one of SkyRL-Gym 0.4: messages of chat completions in and out, images as data URLs.

skyrl_gym.register(id="deepeyes", entry_point="examples.skyrl_env:DeepEyes")
env = skyrl_gym.make("deepeyes", env_config={"dataset": "train.parquet"}, extras={"index": 17})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env.conversation import openai_messages


class DeepEyes(BaseTextEnv):
    """Plays one sample; the prompt of SkyRL's row is replaced by the environment's own."""

    def __init__(self, env_config: Mapping[str, Any], extras: Mapping[str, Any]) -> None:
        super().__init__()
        self.env = gym.make(
            env_config.get("id", "VisualToolbox-v2"), dataset=env_config.get("dataset", "visual_search")
        )
        self.max_turns = self.env.unwrapped.limits.max_turns
        self.index, self.seed = int(extras["index"]), int(extras.get("seed", 0))
        self.told = 0

    def init(self, prompt: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Begin an episode; returns its first messages."""
        _, info = self.env.reset(seed=self.seed, options={"index": self.index})
        messages = openai_messages(info["trajectory"])
        self.told = len(messages)
        return messages, {"sample_id": info["sample_id"], "tools": info["tools"]}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Say what the policy wrote; returns what is new to it."""
        _, reward, terminated, truncated, info = self.env.step(action)
        self.turns += 1
        done = terminated or truncated
        messages = [] if done else openai_messages(self.env.unwrapped.trajectory)
        new, self.told = messages[self.told + 1 :], len(messages)
        metadata = {name: term.raw for name, term in info.get("reward_terms", {}).items()}
        return BaseTextEnvStepOutput(
            observations=new, reward=reward, done=done, metadata=metadata | {"stop_reason": info.get("stop_reason", "")}
        )

    def close(self) -> None:
        """Close the environment's tools."""
        self.env.close()
