"""vLLM on a CPU with a tiny fitted model: OpenAIAgent over HTTP, and VLLMAgent in vLLM's own process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openai")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.agent import AgentError  # noqa: E402
from deepeyes_env.agents.openai import OpenAIAgent  # noqa: E402
from deepeyes_env.agents.transformers.attention import MaskedAttention  # noqa: E402
from deepeyes_env.agents.transformers.kv import causal_mask  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.core import PolicyTokens  # noqa: E402
from deepeyes_env.trainers.conformance.ways import by_vllm  # noqa: E402
from tests.environments import environment  # noqa: E402
from tests.servers.real_servers import VLLM, served, settings_of  # noqa: E402
from tests.servers.tiny_vlm import NATIVE, TEXT  # noqa: E402
from tests.servers.tiny_vlm import environment as episode_environment  # noqa: E402
from tests.servers.whole_episodes import (  # noqa: E402
    assert_context_log_counts_what_the_server_reads,
    assert_looked_and_answered,
    assert_prompts_are_those_of_the_conformance_kit,
    played,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
NUMBER = 6


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def python(home):
    """vLLM's own interpreter."""
    return environment(VLLM, home) / "bin" / "python"


@pytest.fixture(scope="module")
def server(python, tiny_vlm, home):
    # vLLM cannot tell how a template that uses a macro wants its content, and would put all images first.
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "{port}",
        "--model", str(tiny_vlm), "--served-model-name", "tiny", "--enforce-eager", "--dtype", "float32",
        "--max-model-len", "4096", "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
        "--chat-template-content-format", "openai", "--limit-mm-per-prompt", '{"image": 8, "video": 0}',
    ]  # fmt: skip
    with served(command, "tiny", settings_of(home), home / "log.txt") as running:
        yield running


@pytest.mark.parametrize("toolbox", [TEXT, NATIVE])
def test_whole_episodes_with_tokens(server, tiny_vlm, toolbox):
    agent = OpenAIAgent(server.model, server.url, max_tokens=200, retries=1, tokens=True)
    agent.check()
    ended = played(agent, toolbox)
    assert_looked_and_answered(ended)
    tokenizer = VisionPolicy.load(tiny_vlm).tokenizer
    for turn in (turn for episode in ended for turn in episode.turns):
        assert len(turn.tokens.ids) == len(turn.tokens.logprobs)
        assert tokenizer.decode(turn.tokens.ids, skip_special_tokens=True) == turn.action
        assert max(turn.tokens.logprobs) <= 0


def test_the_context_log_counts_what_the_server_reads(server, tiny_vlm):
    assert_context_log_counts_what_the_server_reads(server, tiny_vlm)


def test_prompts_are_those_of_the_conformance_kit(server, tiny_vlm):
    assert_prompts_are_those_of_the_conformance_kit(server, tiny_vlm, by_vllm, ids=True)


def test_a_model_that_is_not_served_is_answered_with_what_is(server):
    with pytest.raises(AgentError, match="'large' but: tiny"):
        OpenAIAgent("large", server.url, retries=0).check()


def test_the_agent_in_process_says_what_the_model_says(python, tiny_vlm, home):
    """Sampled tokens, and the log-probabilities that they were sampled with, against our own forward pass."""
    out = home / "episodes.json"
    script = Path(__file__).with_name("vllm_episodes.py")
    ran = subprocess.run(
        [str(python), str(script), str(tiny_vlm), str(NUMBER), str(out)],
        env=settings_of(home), capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    first, again = json.loads(out.read_text(encoding="utf-8"))
    assert first == again or [each["actions"] for each in first] == [each["actions"] for each in again]
    policy = VisionPolicy.load(tiny_vlm)
    torch.set_num_threads(1)
    for seed, told in enumerate(first):
        episode = _replayed(seed, told)
        assert [image.digest for turn in episode.turns if turn.observation for image in turn.observation.images] == (
            told["digests"]
        )
        assert len(told["context_log"]["requests"]) == len(told["actions"])
        tokens = policy.chat.sequence(episode)
        expected = _logprobs(policy, tokens)
        assert np.abs(expected - tokens.logprobs[1:])[tokens.mask[1:]].max() < 0.01
    assert any(told["zooms"] for told in first)


def _replayed(seed, told):
    from dataclasses import replace

    env = episode_environment(TEXT)
    env.reset(seed=seed)
    for action in told["actions"]:
        env.step(action)
    spoken = [PolicyTokens(tuple(ids), tuple(p)) for ids, p in zip(told["ids"], told["logprobs"], strict=True)]
    turns = zip(env.trajectory.turns, spoken, strict=True)
    return replace(env.trajectory, turns=tuple(replace(turn, tokens=tokens) for turn, tokens in turns))


@torch.no_grad()
def _logprobs(policy, tokens):
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    attention = MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool)))
    hidden = policy.hidden(ids, positions, attention, policy.image_features(tokens.images))
    logprobs = torch.log_softmax(policy.logits(hidden)[0, :-1], -1)
    return logprobs.gather(1, ids[0, 1:, None])[:, 0].numpy()
