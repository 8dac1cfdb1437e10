"""Model directories, loaded and written."""

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.errors import DataError
from deepeyes_env.trainers.tiny import BASE


def test_what_a_server_needs_besides_comes_along(policy, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    policy.save(first)
    assert not (first / "preprocessor_config.json").exists()
    settings = json.dumps({"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136})
    (first / "preprocessor_config.json").write_text(settings, encoding="utf-8")
    (first / "optimizer.bin").write_bytes(b"x")
    VisionPolicy.load(first).save(second)
    assert (second / "preprocessor_config.json").read_text(encoding="utf-8") == settings
    assert not (second / "optimizer.bin").exists()
    assert VisionPolicy.load(second).chat.end_of_turn == policy.chat.end_of_turn


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damaged", [lambda data: data[: len(data) // 2], lambda data: b"\xff\x00"])
def test_a_damaged_file_of_a_model_is_told(tmp_path, name, damaged):
    folder = shutil.copytree(BASE, tmp_path / "model")
    (folder / name).write_bytes(damaged((folder / name).read_bytes()))
    with pytest.raises(DataError, match=r"model.*; download (the model|it) again"):
        VisionPolicy.load(folder)
