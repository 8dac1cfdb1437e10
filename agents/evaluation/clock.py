"""How long a policy takes: agents that are timed, episode by episode."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from deepeyes_env.agents.agent import Action, Agent, AsyncAgent, Reply, Said, name_of, with_context_log_of
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import Trajectory

SECONDS = "model_seconds"
"""Key in a trajectory's metadata: seconds that its policy took for all its messages, waiting included."""


class TimedAgent:
    """An agent, and how long it took for each episode.

    Args:
        agent: The agent. What it answers for several episodes at once is shared out evenly.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._seconds: defaultdict[int, float] = defaultdict(float)

    @property
    def name(self) -> str:
        """Name of the agent."""
        return name_of(self.agent)

    def act(self, episodes: Sequence[Trajectory]) -> Sequence[Said]:
        """Return the next message of each episode."""
        begun = time.perf_counter()
        replies = self.agent.act(episodes)
        share = (time.perf_counter() - begun) / max(1, len(episodes))
        for episode in episodes:
            self._seconds[number_of(episode)] += share
        return replies

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with the agent's context log, if it keeps one."""
        return with_context_log_of(self.agent, trajectory)

    def stamped(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with the seconds in its metadata, and forget them."""
        seconds = round(self._seconds.pop(number_of(trajectory), 0.0), 4)
        return replace(trajectory, metadata={**trajectory.metadata, SECONDS: seconds})

    def forget(self, number: int) -> None:
        """Forget an episode that failed."""
        self._seconds.pop(number, None)


class TimedAsyncAgent(TimedAgent):
    """The same for an agent whose conversations go on at their own pace."""

    agent: AsyncAgent

    @property
    def concurrency(self) -> int:
        """How many conversations to keep going at once."""
        return self.agent.concurrency

    async def reply(self, episode: Trajectory) -> Reply | Action:
        """Return the next message of one episode."""
        begun = time.perf_counter()
        try:
            return await self.agent.reply(episode)
        finally:
            self._seconds[number_of(episode)] += time.perf_counter() - begun


def timed(agent: Agent) -> TimedAgent:
    """Return the agent, timed."""
    return TimedAsyncAgent(agent) if isinstance(agent, AsyncAgent) else TimedAgent(agent)
