"""Other libraries play this package's environments, each in an environment of its own."""

import json
import logging
import math
import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.libraries import recipes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
logger = logging.getLogger(__name__)


@pytest.fixture
def play(tmp_path):
    """Run a script in an environment; returns what it prints last."""

    def run(recipe, script, *arguments):
        python = environment(recipe, tmp_path / "environments") / "bin" / "python"
        settings = {"PYTHONPATH": str(ROOT), "MINARI_DATASETS_PATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        command = [str(python), str(script), *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=1800, check=False
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        result = json.loads(ran.stdout.strip().splitlines()[-1])
        logger.warning("%s %s: %s", script.stem, " ".join(arguments), result)
        return result

    return run


@pytest.mark.parametrize("algorithm", ["PPO", "MaskablePPO"])
def test_stable_baselines3_learns(play, algorithm):
    result = play(recipes.SB3, ROOT / "examples" / "ppo_sb3.py", "--algorithm", algorithm)
    assert result["last"] > result["first"] + 0.15
    assert result["foreign"] == 0


def test_minari_records(play):
    result = play(recipes.MINARI, HERE / "play_minari.py")
    assert (result["episodes"], result["same"], result["again"]) == (4, True, True)
    assert result["images"] == [[36, 36, 3]]
    assert {"action_mask", "correct", "reward_acc", "stop_reason"} <= set(result["infos"])


def test_tianshou_plays_and_learns_a_step(play):
    result = play(recipes.TIANSHOU, HERE / "play_tianshou.py")
    assert result["episodes"] >= 20
    assert result["steps"] > result["episodes"]
    assert {"", "answer"} <= set(result["stops"]) <= {"", "answer", "max_turns"}
    assert 0 < result["looks"] <= 1
    assert math.isfinite(result["loss"])


def test_torchrl_plays(play):
    result = play(recipes.TORCHRL, HERE / "play_torchrl.py")
    assert (result["episodes"], result["done"], result["masked"], result["frames"]) == (6, True, True, 24)
    assert (result["image"], result["question"]) == ([36, 36, 3], [32])
    assert all(reward in (0.0, 0.8, 1.2, 2.0) for reward in result["rewards"])
    assert all(correct in (-1.0, 0.0, 1.0) for correct in result["correct"])


def test_rllib_trains(play):
    result = play(recipes.RLLIB, HERE / "play_rllib.py")
    assert min(result["episodes"]) > 10
    assert all(0 <= mean <= 2 for mean in result["returns"])
    assert all(1 <= length <= 2 for length in result["lengths"])
    assert math.isfinite(result["loss"])


def check_episode(result):
    """A question with its image, a crop that is fitted into the view, and an answer that is right after a look."""
    assert result["prompt"] == [["system", ["text"]], ["user", [[224, 224], "text"]]]
    assert result["looked"] == [["user", ["text", [224, 224], "text"]]]
    assert result["done"] == [False, True]
    assert result["after"] == []
    assert result["terms"] == {**result["terms"], "acc": 1, "format": 0, "tool": 1}
    assert result["reward"] == pytest.approx(2)


def test_skyrl_gym_plays(play):
    result = play(recipes.SKYRL, HERE / "play_skyrl.py")
    check_episode(result)
    assert result["sample"] == "visual_search/train/0/2"
    assert result["terms"]["stop_reason"] == "answer"


def test_openenv_serves_two_sessions(play):
    result = play(recipes.OPENENV, HERE / "play_openenv.py")
    check_episode(result)
    assert result["another"]
    assert result["stop_reason"] == "answer"
    assert result["steps"] == [2, 0]


def test_verifiers_evaluates_a_taskset(play):
    result = play(recipes.VERIFIERS, HERE / "play_verifiers.py")
    question, crop = ["user", [[224, 224], "text"]], ["user", ["text", [224, 224], "text"]]
    assert sorted(result["asked"], key=len) == [[question]] * 6 + [[question, crop]] * 6
    traces = result["traces"]
    assert not any(trace["errors"] for trace in traces)
    assert sorted(trace["rewards"]["rubric"]["score"] for trace in traces) == pytest.approx([0, 0, 0, 0, 2, 2])
    assert all(trace["metrics"]["tool"] == trace["metrics"]["acc"] for trace in traces)
