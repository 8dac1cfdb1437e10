"""What a run inside verl takes, before a GPU is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl.config import load_config
from deepeyes_env.trainers.verl.memory import GIB, needs, server_room, worst_episode
from deepeyes_env.trainers.verl.shape import ModelShape

SHAPES = {
    "7b": ModelShape(8_292_166_656, 28, 3584, 18944, 512, 152064, 128000, 32, 1280, 3420),
    "32b": ModelShape(33_452_718_336, 64, 5120, 27648, 1024, 152064, 128000, 32, 1280, 3456),
}


def worst(config):
    return worst_episode(config, ViewBudget(config.settings.min_pixels, config.settings.max_pixels))


def told(name, *changes):
    config = load_config(changes, Path(name))
    return {need.name: need for need in needs(config, SHAPES["32b" if name == "32b" else "7b"], worst(config))}


def test_the_shape_of_a_folder_is_that_of_its_weights():
    weights = load_file(BASE / "model.safetensors")
    shape = ModelShape.of(BASE)
    assert shape.parameters == sum(each.numel() for each in weights.values())
    config = json.loads((BASE / "config.json").read_text(encoding="utf-8"))["text_config"]
    assert (shape.layers, shape.hidden, shape.vocabulary) == (3, config["hidden_size"], config["vocab_size"])
    layer = [each.numel() for name, each in weights.items() if ".layers.0." in name and each.dim() == 2]
    assert shape.layer_parameters == sum(layer)


def test_a_folder_without_its_weights_is_told(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(BASE, model)
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="is damaged"):
        ModelShape.of(model)
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    with pytest.raises(DataError, match="lacks model-00002-of-00002"):
        ModelShape.of(model)
    (model / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no \.safetensors"):
        ModelShape.of(model)


@pytest.mark.parametrize("name", ["7b", "32b", "v2_7b", "one_node_7b"])
@pytest.mark.parametrize("algorithm", ["grpo", "reinforce_plus_plus"])
def test_the_presets_fit(name, algorithm):
    for need in told(name, f"algorithm={algorithm}").values():
        need.check()
    config = load_config((), Path(name))
    assert server_room(config, SHAPES["32b" if name == "32b" else "7b"]) > 8


def test_the_worst_case_of_the_docs():
    """One machine: the numbers in docs/verl.md."""
    config = load_config((), Path("one_node_7b"))
    found = worst(config)
    assert (found.images, found.image_tokens, found.vision_tokens) == (7, 1280, 8960)
    assert found.pixel_bytes == 7 * 1_003_520 * 24
    machine = told("one_node_7b")["memory, each machine"]
    assert machine.parts["images of a step's rollouts"] == 2 * 1024 * found.pixel_bytes
    assert machine.total / GIB == pytest.approx(446.3, abs=0.1)
    assert told("one_node_7b")["update, each GPU"].total / GIB == pytest.approx(42.7, abs=0.1)


def test_without_the_bound_of_views_the_machine_runs_out():
    """What ends upstream's runs on charts: an image as large as an episode, for each of 1,024 rollouts."""
    unbounded = told("one_node_7b", f"loop.max_pixels={12_845_056}", "loop.max_images=32")
    with pytest.raises(UsageError, match=r"memory, each machine: .* does not fit; change loop\.max_pixels"):
        unbounded["memory, each machine"].check()


def test_a_critic_is_a_second_model():
    one, two = told("7b"), told("7b", "algorithm=ppo")
    name = "offloaded weights and AdamW"
    assert two["memory, each machine"].parts[name] == 2 * one["memory, each machine"].parts[name]
    kept = told("7b", "algorithm=ppo", "offload=false")["rollouts, each GPU"].parts["trainer's weights and AdamW"]
    assert kept == 2 * 12 * SHAPES["7b"].parameters // 32


def test_sequence_parallelism_halves_what_a_gpu_holds_of_the_text_and_nothing_of_the_images():
    one, two = (told("7b", f"sequence_parallel={n}")["update, each GPU"].parts for n in (1, 2))
    assert two["layers' inputs"] * 2 == one["layers' inputs"]
    assert two["one vision layer"] == one["one vision layer"]


def test_a_server_that_holds_no_episode_is_told():
    with pytest.raises(UsageError, match="raise tensor_parallel"):
        server_room(load_config(["tensor_parallel=1"], Path("32b")), SHAPES["32b"])
