"""The examples run, a few steps of each, and what they register works."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("one_torch_thread")

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    """Import an example as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- reinforce.py ----------------------------------------------------------------------------------------------------


def test_reinforce_trains_on_what_it_played():
    torch.manual_seed(0)
    reinforce = example("reinforce")
    policy, envs = reinforce.Policy(), [reinforce.make_env("train") for _ in range(8)]
    turns, rewards, right = reinforce.play(envs, policy, seed=0)
    assert turns[0][0] == list(range(8))
    assert all(len(who) == len(logps) == len(entropies) for who, logps, entropies in turns)
    assert len(rewards) == len(right) == 8
    assert {env.unwrapped.trajectory.stop_reason for env in envs} <= {"answer", "max_turns"}
    assert [env.unwrapped.trajectory.reward for env in envs] == pytest.approx(rewards.tolist())
    looked = [env.unwrapped.trajectory.results for env in envs if env.unwrapped.trajectory.results]
    assert looked
    assert all(result.ok for results in looked for result in results)


def test_reinforce_runs(capsys):
    example("reinforce").main(["--batches", "1"])
    assert capsys.readouterr().out.startswith("batch 0: reward")


def code_lines(name):
    """Count the lines of an example that are neither blank nor comments, docstrings or imports."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(number not in left_out and bool(line.partition("#")[0].strip()) for number, line in lines)


PLAYED = [f"../tests/libraries/{path.stem}" for path in sorted((EXAMPLES.parent / "tests/libraries").glob("play_*.py"))]
SHORT = ["ppo_sb3", "skyrl_env", "openenv_env", "verifiers_taskset", *PLAYED]


@pytest.mark.parametrize(("name", "most"), [("reinforce", 100), *((name, 40) for name in SHORT)])
def test_examples_are_short(name, most):
    assert 10 < code_lines(name) <= most


# --- advantage.py ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch_scaled():
    return example("advantage").batch_scaled


def test_a_custom_advantage_is_known_to_the_trainer(batch_scaled):
    from deepeyes_env.trainers.algorithms import AdvantageInputs, get_advantage

    rewards = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    inputs = AdvantageInputs(rewards, mask, torch.tensor([0, 0, 1, 1, 2]))
    assert get_advantage("batch_scaled") is batch_scaled
    advantages, _ = batch_scaled(inputs)
    spread = torch.tensor([1.0, -1.0, 0.0, 0.0]).std(correction=0).item()
    assert advantages[0].tolist() == pytest.approx([1 / spread, 1 / spread, 0], rel=1e-4)
    assert advantages[1].tolist() == pytest.approx([-1 / spread, 0, 0], rel=1e-4)
    assert not advantages[2:].any()


# --- ppo_sb3.py ------------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_ppo_of_stable_baselines3_runs(capsys):
    pytest.importorskip("stable_baselines3")
    example("ppo_sb3").main(["--steps", "256"])
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert 0 < result["first"] <= 2
    assert result["foreign"] == 0
