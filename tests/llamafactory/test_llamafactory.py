"""A cold start in LLaMA-Factory 0.9.5: three steps on a file of ours, in an environment of its own, as it is installed.

A model directory like a real one is trained (``tests.realistic``). What LLaMA-Factory needs that a machine without CUDA
has not is put on its path: the shim of torchvision (``tests/servers/site``), and a module in place of torchaudio, which
it imports and does not use for images.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deepeyes_env import agents
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.export import export
from tests.environments import Recipe, environment

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(
    "llamafactory-0.9.5",
    (
        ("--constraint", str(ROOT / "constraints.txt"), "torch"),
        ("torch==2.13.0", "llamafactory==0.9.5", "transformers==5.6.*", "trl==0.24.*"),
        ("--no-deps", "dashscope==1.14.1"),
    ),
    removes=("torchaudio",),
)
VIEW = ViewBudget(100 * 100, 280 * 280)
FACTOR = 28
STEPS = 3
BUILD = (
    "import sys; from pathlib import Path; from tests import realistic; "
    "realistic.build(Path(sys.argv[1]), realistic.resource())"
)


def run(folder, site, *arguments):
    """Run the environment's interpreter, and return what it wrote."""
    told = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    told["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "servers" / "site"), str(site)])
    ran = subprocess.run(
        [str(folder / "bin" / "python"), *map(str, arguments)],
        cwd=site,
        env=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return ran.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "torchaudio.py").write_text('"""In place of torchaudio, whose build for CUDA cannot be loaded."""\n')
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return environment(RECIPE, tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def model(installed, site):
    """The realistic model directory, kept beside the environment."""
    folder = installed / "realistic"
    if not (folder / "config.json").is_file():
        run(installed, site, "-c", BUILD, folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(4000)
@pytest.mark.parametrize(("file", "format"), [("start.json", "messages"), ("start.jsonl", "sharegpt")])
def test_three_steps_on_a_file_of_ours(installed, site, model, tmp_path, file, format):
    played = tmp_path / "run"
    scenes = VisualSearch(length=6, size=(800, 800), view=VIEW)
    agents.rollout("VisualToolbox-v2", "oracle", dataset=scenes, episodes=6, out=played, progress=False)
    export(read_trajectories(played), tmp_path / "data" / file, format=format)
    settings = {
        "model_name_or_path": str(model), "stage": "sft", "do_train": True, "finetuning_type": "full",
        "dataset_dir": str(tmp_path / "data"), "dataset": "start", "template": "qwen2_vl", "image_max_pixels": 1003520,
        "cutoff_len": 2048, "output_dir": str(tmp_path / "out"), "max_steps": STEPS, "learning_rate": 2e-3,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "logging_steps": 1, "report_to": "none",
        "use_cpu": True, "save_strategy": "no", "overwrite_cache": True,
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(json.dumps(settings))  # which is YAML; from .json it cannot read them
    told = run(installed, site, "-m", "llamafactory.cli", "train", tmp_path / "train.yaml")
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    first, *_, last = losses = [row["loss"] for row in history if "loss" in row]
    assert (len(losses), last < first) == (STEPS, True)
    assert_the_tokens_are_those_that_the_policy_sees(told, model, tmp_path / "data" / file)


def assert_the_tokens_are_those_that_the_policy_sees(told, model, file):
    """Compare the first example, which LLaMA-Factory writes out, with ours; it trains on the end of a line more."""
    pytest.importorskip("transformers")
    from deepeyes_env.agents.transformers.chat import load_chat
    from deepeyes_env.trainers.sft.encoding import encode_example
    from deepeyes_env.trainers.sft.examples import read_examples
    from deepeyes_env.trajectories.export import Selection

    ids, labels = (
        np.array(json.loads(re.search(rf"^{name}:\n(\[.*\])$", told, re.MULTILINE)[1]))
        for name in ("input_ids", "label_ids")
    )
    chat = load_chat(model, FACTOR)
    ours = encode_example(chat, next(read_examples(file, Selection(), VIEW)), FACTOR)
    length = len(ours)
    assert ids[:length].tolist() == ours.ids.tolist()
    line = chat.tokenizer("\n").input_ids
    assert ids[length:].tolist() == line
    trained, wanted = labels != -100, np.r_[ours.mask, np.zeros(len(line), bool)]
    after = np.r_[False, wanted[:-1]] & ~wanted
    assert set(ids[trained & ~wanted].tolist()) == set(ids[after].tolist()) == set(line)
    assert np.array_equal(trained, wanted | after)
    assert ids[trained].tolist() == labels[trained].tolist()
