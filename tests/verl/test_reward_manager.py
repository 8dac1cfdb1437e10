"""The reward manager, made and asked by verl's own code with what its agent loops send."""

from __future__ import annotations

import asyncio
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.errors import UsageError
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl import register
from tests.trainers.verl.players import ANSWER, ZOOM, Writer, load_policy, play, tokens_of

pytestmark = pytest.mark.slow

WRONG = "<answer>dots</answer>"


@pytest.fixture(scope="module")
def policy():
    return load_policy()


def worker(**settings):
    """verl's worker for rewards, as its configuration has it made."""
    assert register.reward_manager
    given = [f"+reward.custom_reward_function.reward_kwargs.{name}={value}" for name, value in settings.items()]
    with initialize_config_module("verl.trainer.config", version_base=None):
        named = [f"actor_rollout_ref.model.path={BASE}", "reward.reward_manager.name=deepeyes"]
        return RewardLoopWorker(compose("ppo_trainer", [*named, *given]))


def scored(rewarder, rollout, number=0, padding=3, **row):
    """What verl is told of a rollout; its loop sends the row along, and pads the response on the right."""
    sample = pattern_search("test", length=16, easy=0)[number]
    prompt, response = torch.tensor(rollout.prompt.ids), torch.tensor(rollout.response.ids)
    attention = torch.cat([torch.ones(len(prompt) + len(response)), torch.zeros(padding)]).long()
    batch = TensorDict(
        {
            "prompts": prompt[None],
            "responses": torch.nn.functional.pad(response, (0, padding))[None],
            "attention_mask": attention[None],
        },
        batch_size=1,
    )
    told = {
        "data_source": sample.data_source,
        "reward_model": {"ground_truth": sample.answer},
        "extra_info": {"question": sample.question, "options": sample.options},
        "tool_extra_fields": {"tool_rewards": [1.0] * (len(rollout.trajectory.turns) - 1), "turn_scores": []},
        **row,
    }
    data = DataProto(batch=batch, non_tensor_batch={name: np.array([each], object) for name, each in told.items()})
    return asyncio.run(rewarder.compute_score(data))


@pytest.mark.parametrize("messages", [(ANSWER,), (ZOOM, ANSWER), (ZOOM, WRONG), ("dots",), (ZOOM, ZOOM, ANSWER)])
def test_it_equals_the_environment(policy, messages):
    rollout = play(policy, Writer(*(tokens_of(policy, message) for message in messages)))
    found, played = scored(worker(), rollout), rollout.trajectory
    assert found["reward_score"] == pytest.approx(played.reward)
    report = found["reward_extra_info"]
    assert report["acc"] == played.correct
    assert report["tool/calls"] == len(played.results) == len(messages) - 1
    for name, term in played.reward_terms.items():
        assert report[f"reward/{name}"] == term.weighted


def test_a_judge_that_is_gone_costs_the_rollout(policy):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        gone = f"http://127.0.0.1:{server.server_address[1]}/v1"
    rollout = play(policy, Writer(tokens_of(policy, ZOOM), tokens_of(policy, ANSWER)))
    open_question = {
        "extra_info": {"question": "What is on the square?"},
        "reward_model": {"ground_truth": "stripes that run from left to right"},
    }
    found = scored(worker(judge="llm", judge_model="judge", judge_url=gone), rollout, **open_question)
    whole = scored(worker(), rollout, **open_question)
    assert (found["reward_score"], found["reward_extra_info"]["failed"]) == (0.0, 1.0)
    assert whole["reward_extra_info"]["failed"] == 0
    assert found["reward_extra_info"].keys() == whole["reward_extra_info"].keys()  # verl puts them side by side


def test_a_row_that_cannot_be_read_costs_the_rollout(policy, tmp_path):
    rollout = play(policy, Writer(tokens_of(policy, ANSWER)))
    where = {"deepeyes": {"source": str(tmp_path / "gone.parquet"), "index": 0}}
    assert scored(worker(), rollout, extra_info=where)["reward_extra_info"]["failed"] == 1


def test_settings_of_the_agent_loop_are_refused():
    with pytest.raises(UsageError, match="max_turns says how episodes are played"):
        worker(max_turns=3)
