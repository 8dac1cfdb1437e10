"""answers.jsonl: what a policy said in each state, so that it is never asked the same twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deepeyes_env.agents.agent import (
    Agent,
    AgentError,
    AsyncAgent,
    Reply,
    Said,
    about_of,
    as_reply,
    name_of,
    with_context_log_of,
)
from deepeyes_env.core import FinishReason, PolicyTokens, ToolCall, Trajectory
from deepeyes_env.data.fields import get, parse_object
from deepeyes_env.errors import DataError
from deepeyes_env.json_lines import JSONLinesFile, read_lines
from deepeyes_env.trajectories.schema import from_fields

_ELSEWHERE = ("server",)
"""What an agent tells of itself and does not change what it says."""


class AnswerFile:
    """Replies by what was asked, in a file that only grows; threads may share it.

    Only where each line begins is held in memory.

    Args:
        path: The file; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = JSONLinesFile(path)
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._end = 0
        for number, line in read_lines(path):
            try:
                self._places[bytes.fromhex(get(parse_object(line), "key", str, ""))] = self._end
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: is no answer ({error}); delete the line, and it is asked anew"
                ) from error
            self._end += len(line) + 1

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: bytes) -> Reply | None:
        """Return the reply under a key; ``None`` if there is none."""
        with self._lock:
            place = self._places.get(key)
        if place is None:
            return None
        with self._path.open("rb") as file:
            file.seek(place)
            return _reply_of(file.readline())

    def put(self, key: bytes, reply: Reply) -> None:
        """Append a reply.

        Raises:
            OSError: The disk is full, say; the file is as it was.
        """
        line = _line_of(key, reply)
        with self._lock:
            self._file.append(line)
            self._places[key] = self._end
            self._end += len(line) + 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RememberingAgent:
    """An agent that is not asked what it has answered already: the same conversation with the same seed.

    Attributes:
        asked: How many messages the agent was asked for.
        recalled: How many came from the file.

    Args:
        agent: The agent.
        answers: Where its replies are kept.
    """

    def __init__(self, agent: Agent, answers: AnswerFile) -> None:
        self.agent = agent
        self.asked = 0
        self.recalled = 0
        self._answers = answers
        about = {name: value for name, value in about_of(agent).items() if name not in _ELSEWHERE}
        self._who = json.dumps([name_of(agent), about], sort_keys=True, default=str)

    @property
    def name(self) -> str:
        """Name of the agent."""
        return name_of(self.agent)

    def act(self, episodes: Sequence[Trajectory]) -> Sequence[Said]:
        """Return the next message of each episode; the agent is asked for those that are not known."""
        keys = [key_of(self._who, episode) for episode in episodes]
        known: dict[bytes, Reply | AgentError] = {}
        new: dict[bytes, Trajectory] = {}
        for key, episode in zip(keys, episodes, strict=True):
            if key not in known and (reply := self._answers.get(key)) is not None:
                known[key] = reply
            elif key not in known:
                new.setdefault(key, episode)
        said = self.agent.act(list(new.values())) if new else ()
        for key, each in zip(new, said, strict=True):
            known[key] = self._kept(key, each)
        self.asked += len(new)
        self.recalled += len(episodes) - len(new)
        return [known[key] for key in keys]

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with the agent's context log, if it keeps one."""
        return with_context_log_of(self.agent, trajectory)

    def _kept(self, key: bytes, said: object) -> Reply | AgentError:
        reply = as_reply(said, self.agent)
        if isinstance(reply, Reply):
            self._answers.put(key, reply)
        return reply


class RememberingAsyncAgent(RememberingAgent):
    """The same for an agent whose conversations go on at their own pace."""

    agent: AsyncAgent

    def __init__(self, agent: AsyncAgent, answers: AnswerFile) -> None:
        super().__init__(agent, answers)
        self._locks: dict[bytes, asyncio.Lock] = {}

    @property
    def concurrency(self) -> int:
        """How many conversations to keep going at once: those that the agent asks about, and those that wait for it."""
        return self.agent.concurrency + int(getattr(self.agent, "waiting", 0))

    async def reply(self, episode: Trajectory) -> Reply:
        """Return the next message of one episode; of two that ask the same at the same time, one waits."""
        if episode.turns:  # with images that nobody has hashed yet
            key = await asyncio.to_thread(key_of, self._who, episode)
        else:
            key = key_of(self._who, episode)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            try:
                if (known := self._answers.get(key)) is not None:
                    self.recalled += 1
                    return known
                self.asked += 1
                reply = self._kept(key, await self.agent.reply(episode))
                if isinstance(reply, AgentError):
                    raise reply
                return reply
            finally:
                self._locks.pop(key, None)


def remembering(agent: Agent, answers: AnswerFile) -> RememberingAgent:
    """Return the agent, with what it has answered already at hand."""
    return RememberingAsyncAgent(agent, answers) if isinstance(agent, AsyncAgent) else RememberingAgent(agent, answers)


def key_of(who: str, episode: Trajectory) -> bytes:
    """Return a digest of all that a reply depends on: the policy, the conversation with its images, and the seed.

    The sample's own images go by their bytes and by the size in which they are shown.

    Args:
        who: The policy and its settings.
        episode: The conversation.
    """
    opening = [[image.digest, *view.size] for image, view in zip(episode.sample.images, episode.prompt.images)]  # noqa: B905
    opening += [[view.digest] for view in episode.prompt.images[len(episode.sample.images) :]]
    replies = [turn.observation for turn in episode.turns if turn.observation]
    told = [[each.text, each.prefill, *(image.digest for image in each.images)] for each in replies]
    told += [[turn.action] for turn in episode.turns]
    asked = [who, episode.metadata.get("seed"), episode.toolbox, episode.frame]
    text = json.dumps([*asked, episode.system_prompt, episode.prompt.text, opening, told])
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()


def _line_of(key: bytes, reply: Reply) -> str:
    said = reply.message
    record = {
        "key": key.hex(),
        "call" if isinstance(said, ToolCall) else "message": asdict(said) if isinstance(said, ToolCall) else said,
        "finish_reason": reply.finish_reason,
        "tokens": asdict(reply.tokens) if reply.tokens else None,
    }
    return json.dumps(record, default=dict)


def _reply_of(line: bytes) -> Reply:
    record = json.loads(line)
    message = from_fields(record["call"], ToolCall) if "call" in record else record["message"]
    tokens = from_fields(record["tokens"], PolicyTokens) if record["tokens"] else None
    finish: FinishReason = record["finish_reason"]
    return Reply(message, tokens, finish)
