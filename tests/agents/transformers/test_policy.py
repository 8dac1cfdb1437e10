"""Model directories, loaded and written."""

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.core import PolicyTokens
from deepeyes_env.errors import DataError, UsageError
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


@pytest.mark.parametrize("name", ["chat_template.json", "processor_config.json"])
def test_a_chat_template_of_the_processor_is_read_and_comes_along(policy, tmp_path, name):
    """As ``AutoProcessor`` does: Qwen2.5-VL came with ``chat_template.json``, and tokenizers read neither."""
    first, second = tmp_path / "first", tmp_path / "second"
    policy.save(first)
    template = (first / "chat_template.jinja").read_text(encoding="utf-8")
    (first / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match=r"no chat template; add chat_template\.jinja or chat_template\.json"):
        VisionPolicy.load(first)
    (first / name).write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    VisionPolicy.load(first).save(second)
    assert (second / "chat_template.jinja").read_text(encoding="utf-8") == template
    assert VisionPolicy.load(second).chat.end_of_turn == policy.chat.end_of_turn


def test_a_message_ends_by_itself_or_is_cut(policy):
    assert policy.finish_reason(PolicyTokens((7, policy.chat.end_of_turn))) == "stop"
    assert policy.finish_reason(PolicyTokens((7, 8))) == "length"
    assert policy.finish_reason(PolicyTokens(())) == "length"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damaged", [lambda data: data[: len(data) // 2], lambda data: b"\xff\x00"])
def test_a_damaged_file_of_a_model_is_told(tmp_path, name, damaged):
    folder = shutil.copytree(BASE, tmp_path / "model")
    (folder / name).write_bytes(damaged((folder / name).read_bytes()))
    with pytest.raises(DataError, match=r"model.*; download (the model|it) again"):
        VisionPolicy.load(folder)
