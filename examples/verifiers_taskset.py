"""Our environment as a taskset of verifiers 0.4: it answers each message of the policy as the user of the conversation.

With this folder in ``PYTHONPATH``:

    vf-eval verifiers-taskset -n 8 -r 4 -m MODEL --client.base-url URL --env.policy.runtime.type subprocess --no-push
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import verifiers.v1 as vf

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env.conversation import openai_messages

__all__ = ["DeepEyesEnv", "DeepEyesTaskset"]


class Config(vf.TasksetConfig):
    """Which questions, and which environment."""

    env: str = "VisualToolbox-v2"
    dataset: str = "visual_search"


class Data(vf.TaskData):
    """One question: its environment, and its index in the data set."""

    info: dict[str, Any]


class DeepEyesTask(vf.Task[Data, vf.State, vf.TaskConfig]):
    """A task whose reward comes from the environment."""


class DeepEyesTaskset(vf.Taskset[DeepEyesTask, Config]):
    """Every sample of a data set, in order."""

    def load(self) -> Iterator[DeepEyesTask]:
        """Yield a task for each sample; its opening is the environment's own."""
        env = gym.make(self.config.env, dataset=self.config.dataset)
        for index in range(len(env.unwrapped.dataset)):
            _, info = env.reset(seed=index, options={"index": index})
            *system, user = openai_messages(info["trajectory"])
            prompt = [vf.UserMessage(content=user["content"])]
            settings = {"id": self.config.env, "dataset": self.config.dataset, "index": index}
            text = system[0]["content"] if system else None
            yield DeepEyesTask(Data(prompt=prompt, system_prompt=text, info=settings), self.config.task)


class EnvConfig(vf.EnvConfig):
    """Who plays."""

    policy: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"})


class DeepEyesEnv(vf.Env[EnvConfig]):
    """Plays the episode, and records the rubric's reward and terms."""

    async def run(self, task: DeepEyesTask, agents: Any) -> None:
        """Play one episode."""
        index, info, reward = task.data.info["index"], dict[str, Any](), 0.0
        env = gym.make(task.data.info["id"], dataset=task.data.info["dataset"])
        await asyncio.to_thread(env.reset, seed=index, options={"index": index})
        async with agents.policy.interaction(task) as talk:
            said = await talk.turn()
            while not said.terminated:
                _, reward, terminated, truncated, info = await asyncio.to_thread(env.step, said.last_reply)
                if terminated or truncated:
                    break
                seen = openai_messages(env.unwrapped.trajectory)[-1]
                said = await talk.turn([vf.UserMessage(content=seen["content"])])
        talk.trace.record_reward("rubric", float(reward), 1.0)
        for name, term in info.get("reward_terms", {}).items():
            talk.trace.record_metric(name, float(term.raw))
