"""``transformers serve`` with a tiny fitted model: OpenAIAgent plays whole episodes with images on a real server."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

pytest.importorskip("openai")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer, GenerationConfig

from deepeyes_env import agents
from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.data import load
from deepeyes_env.trainers.conformance.ways import by_transformers
from deepeyes_env.trainers.tiny import BASE
from tests.environments import environment
from tests.servers.real_servers import TRANSFORMERS_SERVE, served, settings_of
from tests.servers.tiny_vlm import NATIVE, TEXT
from tests.servers.whole_episodes import (
    assert_context_log_counts_what_the_server_reads,
    assert_looked_and_answered,
    assert_prompts_are_those_of_the_conformance_kit,
    played,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@contextmanager
def serving(model, home):
    folder = environment(TRANSFORMERS_SERVE, home)
    command = [str(folder / "bin" / "transformers"), "serve", "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--device", "cpu", str(model)]
    with served(command, str(model), settings_of(home), home / "log.txt") as running:
        yield running


@pytest.fixture(scope="module")
def server(tiny_vlm, tmp_path_factory):
    with serving(tiny_vlm, tmp_path_factory.mktemp("serve")) as running:
        yield running


def test_native_tool_calls(server):
    agent = OpenAIAgent(server.model, server.url, max_tokens=200, retries=1)
    assert_looked_and_answered(played(agent, NATIVE))


def test_images_of_tools_in_user_messages(server):
    agent = OpenAIAgent(server.model, server.url, max_tokens=200, retries=1, tool_images="user")
    assert_looked_and_answered(played(agent, NATIVE, 4))


def test_text_protocol(server):
    """This server takes calls out of the text whatever it is asked, and breaks on stop strings of a vision model."""
    agent = OpenAIAgent(server.model, server.url, max_tokens=200, retries=1, stop=())
    assert_looked_and_answered(played(agent, TEXT))


def test_the_context_log_counts_what_the_server_reads(server, tiny_vlm):
    assert_context_log_counts_what_the_server_reads(server, tiny_vlm)


def test_prompts_are_those_of_the_conformance_kit(tiny_vlm, tmp_path):
    """The model writes no calls here: this server answers a call that it cannot read with an error."""
    quiet = shutil.copytree(tiny_vlm, tmp_path / "quiet")
    settings = GenerationConfig.from_pretrained(quiet)
    settings.suppress_tokens = [AutoTokenizer.from_pretrained(quiet).convert_tokens_to_ids("<tool_call>")]
    settings.save_pretrained(quiet)
    with serving(quiet, tmp_path) as running:
        assert_prompts_are_those_of_the_conformance_kit(running, quiet, by_transformers, ids=False)


def test_a_model_that_is_not_there_is_named(server):
    agent = OpenAIAgent("/nowhere/model", server.url, retries=0)
    with pytest.raises(AgentError, match="/nowhere/model|500|404"):
        agent.check()


def test_the_policy_that_ships_reads_what_it_can_see(tmp_path):
    """The folders that the trainer begins with and writes are ones that a server takes."""
    with serving(BASE, tmp_path) as running:
        agent = OpenAIAgent(running.model, running.url, max_tokens=40, retries=1, stop=(), concurrency=4)
        easy = load("pattern_search", split="test", easy=1.0)
        run = agents.rollout("VisualToolbox-v2", agent, episodes=12, in_order=True, dataset=easy, progress=False)
    assert not run.failures
    assert sum(episode.reward > 0 for episode in run.trajectories) >= 10
