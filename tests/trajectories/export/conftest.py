"""Runs to export: real episodes on the built-in task, recorded and read back."""

import json
from dataclasses import replace
from random import Random

import pytest

from deepeyes_env import agents
from deepeyes_env.agents.scripted import OracleAgent, zooming
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import read_trajectories


class TwoAtOnce(OracleAgent):
    """An oracle that zooms twice in one message, and speaks outside its thoughts."""

    name = "two_at_once"

    def message(self, episode, random: Random):
        if episode.turns:
            return super().message(episode, random)
        box = episode.sample.regions[0]
        return "Let me look.\n" + zooming(episode, box, 0.1) + zooming(episode, box, 0.5)

    def places(self, episode):
        return super().places(episode)[:1]


def record(folder, agent, env="VisualToolbox-v2", episodes=6, **kwargs):
    agents.rollout(env, agent, episodes=episodes, out=folder, progress=False, num_envs=2, **kwargs)
    return folder


@pytest.fixture(scope="session")
def oracle_run(tmp_path_factory):
    return record(tmp_path_factory.mktemp("runs") / "oracle", "oracle")


@pytest.fixture(scope="session")
def noisy_run(tmp_path_factory):
    """Right and wrong answers, failed and unreadable calls."""
    agent = agents.make_agent("noisy", noise=0.6, seed=1)
    return record(tmp_path_factory.mktemp("runs") / "noisy", agent, episodes=24)


@pytest.fixture(scope="session")
def native_run(tmp_path_factory):
    """Two native calls in the first message."""
    return record(tmp_path_factory.mktemp("runs") / "native", TwoAtOnce(), "VisualToolboxNative-v0", 4)


@pytest.fixture
def oracle(oracle_run):
    return list(read_trajectories(oracle_run))


@pytest.fixture
def noisy(noisy_run):
    return list(read_trajectories(noisy_run))


@pytest.fixture
def native(native_run):
    return list(read_trajectories(native_run))


@pytest.fixture
def plainly():
    """Return a function that names a conversation's images by their pixels, as any file has them, and drops weights."""

    def plainly(conversation, *, weights=False, **fields):
        messages = [
            replace(
                message,
                images=tuple(ImageRef.of(image.pixels()) for image in message.images),
                trainable=message.trainable if weights else True,
            )
            for message in conversation.messages
        ]
        return replace(conversation, messages=tuple(messages), **fields)

    return plainly


@pytest.fixture
def edit():
    """Return a function that changes one line of a JSONL file in place; ``change`` gets the parsed line."""

    def edit(path, change, line=0):
        lines = path.read_text().splitlines()
        record = json.loads(lines[line])
        change(record)
        lines[line] = json.dumps(record)
        path.write_text("\n".join(lines) + "\n")

    return edit
