"""``deepeyes train-verl --dry-run``: what is checked before a GPU is taken."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from typer.testing import CliRunner

from deepeyes_env import Sample
from deepeyes_env.cli.app import app
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.errors import DataError, JudgeError, UsageError
from deepeyes_env.trainers.verl.config import load_config
from deepeyes_env.trainers.verl.plan import check
from tests.judges.judging_model import honest, understanding
from tests.servers.faulty import FaultyServer

SMALL = ("loop.max_pixels=12544", "loop.min_pixels=12544")


@pytest.fixture
def rows(tmp_path):
    pixels = np.zeros((300, 300, 3), np.uint8)
    samples = [
        Sample("zoom", "Which one?", "red", (pixels,), ("red", "blue")),
        Sample("plain", "Which one?", "red", (pixels,), ("red", "blue"), env_name=None),
    ]
    write_parquet(samples, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def deepeyes(*arguments):
    return CliRunner().invoke(app, ["train-verl", *map(str, arguments)])


@pytest.mark.integration
def test_a_dry_run_prints_the_command_and_what_it_found(rows, tmp_path):
    out = tmp_path / "out"
    done = deepeyes("--dry-run", f"train=[{rows}]", f"out={out}", *SMALL)
    assert done.exit_code == 0, done.output
    assert "python -m verl.trainer.main_ppo" in done.stdout
    assert f"data.train_files=[{rows}]" in done.stdout
    assert f"{rows}: 2 rows; of 2 that were opened" in done.stdout
    assert "VisualToolbox-v2 1, an ordinary question 1" in done.stdout
    assert not out.exists()


@pytest.mark.integration
def test_a_plan_counts_the_longest_prompt_and_the_memory(rows):
    plan = check(load_config([f"train=[{rows}]", "engine=vllm", "gpu_memory=8", "node_memory=24", *SMALL]))
    assert plan.rows[0].longest > 16
    assert plan.worst.image_tokens == 16
    assert [need.name for need in plan.needs] == ["update, each GPU", "rollouts, each GPU", "memory, each machine"]


def test_what_is_wrong_is_told_before_anything_starts(rows, tmp_path):
    for change, told in (
        ("model=no-such-folder", "is no folder"),
        ("train=[no.parquet]", "no data set"),
        ("loop.toolbox=Nothing-v0", "Nothing-v0"),
        ("loop.rubric=nothing", "nothing"),
        ("loop.judge=nothing", "nothing"),
        ("prompt_tokens=20", r"row 0: the prompt has \d+ tokens, and prompt_tokens=20"),
        ("response_tokens=4096", "the model's context of 4096"),
        (f"out={rows}/run", "is a file"),
        ("loop.judge=llm", "give loop.judge_url"),
    ):
        with pytest.raises((UsageError, DataError), match=told):
            check(load_config([f"train=[{rows}]", *SMALL, change]))


def test_a_parquet_file_without_a_column_is_told(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"question": ["?"]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="column"):
        check(load_config([f"train=[{tmp_path / 'rows.parquet'}]"]))


@pytest.mark.integration
def test_a_run_that_does_not_fit_is_told_with_the_settings(rows):
    with pytest.raises(UsageError, match="memory, each machine: .* does not fit; change loop.max_pixels"):
        check(load_config([f"train=[{rows}]", "engine=vllm", "node_memory=8", *SMALL]))


@pytest.mark.integration
def test_the_judge_is_asked():
    with FaultyServer(honest, models=["judge"]) as server:
        given = ["loop.judge=llm", "loop.judge_model=judge", f"loop.judge_url={server.url}"]
        with pytest.raises(JudgeError, match="agrees on"):  # it knows letters, and nothing of meaning
            check(load_config(given))
        assert server.requests
    with FaultyServer(understanding, models=["judge"]) as server:
        given = ["loop.judge=chain", "loop.judge_model=judge", f"loop.judge_url={server.url}"]
        assert any("the judge agrees on 12 of 12" in note for note in check(load_config(given)).notes)
    with pytest.raises(JudgeError, match="no server answers"):
        check(load_config(given))


@pytest.mark.integration
@pytest.mark.skipif(find_spec("verl") is not None, reason="verl is installed here")
def test_without_verl_a_run_is_refused_with_what_brings_it():
    done = deepeyes("steps=1")
    assert done.exit_code == 1
    assert "[verl]" in " ".join(done.output.split())


@pytest.mark.integration
def test_ppo_says_what_its_critic_needs(rows):
    given = [f"train=[{rows}]", "algorithm=ppo", *SMALL]
    if find_spec("verl") and not find_spec("trl"):
        with pytest.raises(UsageError, match=r"algorithm=ppo: .*pip install 'trl<1\.13'"):
            check(load_config(given))
    else:
        assert "pip install 'trl<1.13'" in check(load_config(given)).text()
