"""Names on the Hugging Face Hub: from the cache, from a hub on 127.0.0.1, or with the command to run."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

constants = pytest.importorskip("huggingface_hub.constants")

from deepeyes_env.agents.hub import is_hub_name, model_directory  # noqa: E402
from deepeyes_env.cli.app import app  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from tests.hub_server import SHA, HubServer  # noqa: E402

NAME = "me/looker-7B"


def pointed_at(url, monkeypatch):
    """As ``HF_ENDPOINT`` does, which is read once a process."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pointed_at("http://127.0.0.1:9", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    """A directory in the form of a model's, its weights in two parts."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    for name in parts.values():
        (folder / name).write_bytes(name.encode())
    (folder / "modeling_looker.py").write_text("raise SystemExit('executed')")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def planted(cache, model):
    """Put a model into the cache, as it is there after a download."""
    folder = cache / "models--me--looker-7B"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(SHA)
    return shutil.copytree(model, folder / "snapshots" / SHA)


def served(monkeypatch, model):
    server = HubServer(NAME, model)
    pointed_at(server.url, monkeypatch)
    return server


@pytest.mark.parametrize("name", ["a", "/me/looker", "me/looker/7B", "./looker", "me\\looker", "../me", "", "a//b"])
def test_what_is_no_name_on_the_hub_is_a_path(name):
    assert not is_hub_name(name)
    assert str(model_directory(name)) in (name, "a/b", ".", "looker")


def test_a_folder_is_taken_for_itself(cache, tmp_path):
    (tmp_path / "me" / "looker-7B").mkdir(parents=True)
    assert str(model_directory(NAME)) == NAME


def test_the_cache_comes_first(cache, model):
    folder = planted(cache, model)
    assert model_directory(NAME) == folder


def test_what_is_in_no_cache_is_fetched_once_without_code_and_pickles(cache, model, monkeypatch):
    with served(monkeypatch, model) as server:
        folder = model_directory(NAME)
        asked = len(server.asked)
        assert model_directory(NAME) == folder
        assert len(server.asked) == asked
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in model.iterdir()} - {"modeling_looker.py", "pytorch_model.bin"}
    assert (folder / "model-2.safetensors").read_bytes() == b"model-2.safetensors"
    assert not any("pytorch_model" in path or "modeling" in path for path in server.asked)


def test_a_model_that_is_cached_in_part_is_fetched(cache, model, monkeypatch):
    (planted(cache, model) / "model-2.safetensors").unlink()
    with served(monkeypatch, model):
        assert (model_directory(NAME) / "model-2.safetensors").is_file()


def test_without_a_hub_the_command_to_run_is_named(cache):
    with pytest.raises(UsageError, match=r"'me/looker-7B' is no folder, .* fetched .* run: hf download me/looker-7B"):
        model_directory(NAME)


def test_without_a_hub_a_part_of_a_model_is_not_taken_for_it(cache, model):
    (planted(cache, model) / "model-2.safetensors").unlink()
    with pytest.raises(UsageError, match="lacks config.json or weights as safetensors; .* hf download me/looker-7B"):
        model_directory(NAME)


def test_what_the_hub_does_not_have_is_told(cache, model, monkeypatch):
    with served(monkeypatch, model), pytest.raises(UsageError, match="'me/another' is no folder.*404"):
        model_directory("me/another")


def test_a_model_without_safetensors_is_told(cache, model, monkeypatch):
    for path in model.glob("*.safetensors"):
        path.unlink()
    with served(monkeypatch, model), pytest.raises(UsageError, match="lacks config.json or weights as safetensors"):
        model_directory(NAME)


def test_a_name_on_the_hub_plays_and_begins_a_run(cache):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from deepeyes_env.agents.transformers.agent import TransformersAgent
    from deepeyes_env.trainers.grpo.config import load_config, model_folder
    from deepeyes_env.trainers.tiny import BASE

    folder = planted(cache, BASE)
    assert model_folder(load_config([f"model={NAME}"])) == folder
    agent = TransformersAgent(NAME)
    assert (agent.name, agent.frame) == ("looker-7B", "view")


@pytest.mark.slow
def test_the_command_evaluates_a_name_on_the_hub(cache, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from deepeyes_env.trainers.tiny import BASE

    planted(cache, BASE)
    command = ["eval", "--bench", "visual_search", "--limit", "2", "--model", NAME, "--local", "--max-tokens", "8"]
    told = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert told.exit_code == 0, told.output
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert (report["policy"], report["conditions"][0]["episodes"]) == ("looker-7B", 2)
