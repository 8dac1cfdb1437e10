"""Model directories, loaded and written."""

import contextlib
import json
import pickle
import shutil
from pathlib import Path

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


class Evil:
    """A stranger's weights: unpickling them writes a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def test_a_strangers_directory_executes_nothing(policy, tmp_path):
    folder, proof = tmp_path / "model", tmp_path / "executed"
    policy.save(folder)
    (folder / "code.py").write_text(f"open({str(proof)!r}, 'w')\nModel = Tokenizer = Config = None\n")
    autos = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": ["code.Tokenizer", None]}
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": autos}))
    with contextlib.suppress(ValueError):  # that the code is not run may also mean that the directory is refused
        VisionPolicy.load(folder)
    assert not proof.exists()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil(proof)}))
    with pytest.raises(DataError, match="safetensors"):
        VisionPolicy.load(folder)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damaged", [lambda data: data[: len(data) // 2], lambda data: b"\xff\x00"])
def test_a_damaged_file_of_a_model_is_told(tmp_path, name, damaged):
    folder = shutil.copytree(BASE, tmp_path / "model")
    (folder / name).write_bytes(damaged((folder / name).read_bytes()))
    with pytest.raises(DataError, match=r"model.*; download (the model|it) again"):
        VisionPolicy.load(folder)


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
