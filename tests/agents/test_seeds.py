"""Seeds that are out of range: refused before anything is made, whoever is asked."""

import pytest
from typer.testing import CliRunner

from deepeyes_env import agents
from deepeyes_env.agents.evaluation.plan import Plan
from deepeyes_env.agents.human import play_by_hand
from deepeyes_env.cli.app import app
from deepeyes_env.errors import UsageError
from deepeyes_env.seeds import MAX_SEED


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("rollout", "--seed"),
        ("play", "--seed"),
        ("eval", "--seed"),
        ("photos . out.parquet", "--seed"),
        ("build-tiny", "--seed"),
        ("ablate", "--first-seed"),
    ],
)
@pytest.mark.parametrize("seed", ["-1", str(MAX_SEED + 1), str(10**30)])
def test_every_command_bounds_its_seed(command, option, seed):
    result = CliRunner().invoke(app, [*command.split(), option, seed])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 10**30])
def test_so_does_every_function(seed, tmp_path):
    with pytest.raises(UsageError, match=rf"seed={seed}: must be "):
        agents.rollout("VisualToolbox-v2", "oracle", episodes=1, seed=seed)
    with pytest.raises(UsageError, match=rf"seed={seed}: must be "):
        Plan(1, seed=seed)
    with pytest.raises(UsageError, match=rf"seed={seed}: must be "):
        play_by_hand("VisualToolbox-v2", episodes=1, seed=seed, out=tmp_path, announce=print)


def test_the_largest_seed_is_played():
    assert agents.rollout("VisualToolbox-v2", "blind", episodes=2, seed=MAX_SEED - 1).summary.episodes == 2
