"""RL Logging Board's own page reads our episodes.

Needs a checkout of the board, named by ``RL_LOGGING_BOARD``; Streamlit gets an environment of its own.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.libraries.recipes import BOARD

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from tests.trainers.grpo.small_runs import config  # noqa: E402

CHECKOUT = Path(os.environ.get("RL_LOGGING_BOARD", ""))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not (CHECKOUT / "rl_logging_board.py").is_file(),
        reason="RL_LOGGING_BOARD names no checkout of github.com/HarderThenHarder/RLLoggingBoard (CONTRIBUTING.md)",
    ),
]


def test_the_board_reads_every_episode(tmp_path):
    python = environment(BOARD, tmp_path / "environments") / "bin" / "python"
    run(config(tmp_path / "run", "log.rl_logging_board=true", "steps=2", "evaluation.samples=0"), live=False)
    rows = (tmp_path / "run" / "logging_board" / "rollout_data_rank0.jsonl").read_text(encoding="utf-8").splitlines()
    ours = [json.loads(row) for row in rows]
    script = Path(__file__).with_name("play_board.py")
    command = [str(python), str(script), str(CHECKOUT.absolute()), str(tmp_path / "run")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    read = json.loads(ran.stdout.strip().splitlines()[-1])
    assert read["errors"] == []
    assert read["steps"] == {"1": 6, "2": 6}
    assert read["rewards"] == [row["reward"] for row in ours]
    assert read["tokens"] == [len(row["response_tokens"]) for row in ours]
    assert read["tables"] > 0
    assert any("error: 0" in toast for toast in read["toast"])
