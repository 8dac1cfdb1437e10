"""Model directories, loaded and written."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy


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
