"""What the agent loops of a process share, made of what verl has loaded of a model."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.errors import UnknownNameError
from deepeyes_env.judges import RuleJudge
from deepeyes_env.trainers.verl.settings import LoopSettings
from deepeyes_env.trainers.verl.worker import Worker, shared_worker
from deepeyes_env.trajectories import read_trajectories
from tests.trainers.verl.players import ANSWER, Writer, load_policy, play, tokens_of


@dataclass(frozen=True, eq=False)
class Processor:
    """What is read of a processor of transformers."""

    image_processor: object


@pytest.fixture(scope="module")
def policy():
    return load_policy()


@pytest.fixture(scope="module")
def processor():
    sizes = {"shortest_edge": 56 * 56, "longest_edge": 16384 * 28 * 28}
    return Processor(SimpleNamespace(patch_size=14, merge_size=2, size=sizes))


def test_it_bans_what_stands_for_images(policy, processor):
    worker = Worker.of(LoopSettings(), policy.tokenizer, processor, "qwen2_5_vl")
    named = policy.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_start|>", "<|vision_end|>"])
    assert set(named) <= worker.vision
    assert worker.chat.end_of_turn not in worker.vision
    assert worker.chat.image_token == policy.image_token


def test_environments_are_made_as_the_settings_say(policy, processor):
    settings = LoopSettings(toolbox="VisualToolbox-v5", max_turns=4, max_images=3, max_pixels=112 * 112)
    worker = Worker.of(settings, policy.tokenizer, processor, "qwen2_5_vl")
    task = pattern_search("test", length=3)
    env, other = worker.make_env(task), worker.make_env(list(task))
    assert env.toolbox.name == "VisualToolbox-v5"
    assert (env.limits.max_turns, env.limits.max_images) == (4, 3)
    assert env.view == task.view  # which the task recommends
    assert other.view.max_pixels == 112 * 112
    assert env.store is other.store
    assert isinstance(worker.env_kwargs["judge"], RuleJudge)


def test_an_unknown_judge_is_told(policy, processor):
    with pytest.raises(UnknownNameError, match="rules"):
        Worker.of(LoopSettings(judge="rule"), policy.tokenizer, processor, "qwen2_5_vl")


def test_a_process_has_one_worker_for_the_same_settings(policy, processor):
    worker = shared_worker(LoopSettings(), policy.tokenizer, processor, "qwen2_5_vl")
    assert shared_worker(LoopSettings(), policy.tokenizer, processor, "qwen2_5_vl") is worker


def test_episodes_are_recorded_if_asked_for(policy, processor, tmp_path):
    worker = Worker.of(LoopSettings(record=str(tmp_path)), policy.tokenizer, processor, "qwen2_5_vl")
    rollout = play(policy, Writer(tokens_of(policy, ANSWER)))
    worker.write(rollout.trajectory)
    (folder,) = tmp_path.iterdir()
    (read,) = read_trajectories(folder)
    assert read.turns[0].tokens == rollout.trajectory.turns[0].tokens
