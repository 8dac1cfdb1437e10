"""``deepeyes conformance``: faults planted in model directories are found, each by its cause; sound ones have none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepeyes_env.cli.app import app
from deepeyes_env.trainers.conformance import ways
from deepeyes_env.trainers.conformance.check import check
from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.recordings import RECORDINGS, play
from deepeyes_env.trainers.tiny import BASE
from tests import realistic

WITH_CALLS = (
    "{% for message in messages %}{% if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
    "{{ parts(message) }}\n</tool_response><|im_end|>\n{% else %}<|im_start|>{{ message.role }}\n{{ parts(message) }}"
    "{% if loop.first and tools %}\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}"
    "{% for call in message.tool_calls or [] %}{% if parts(message) or not loop.first %}{{ '\n' }}{% endif %}"
    "<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS = (
    "{% macro parts(message) %}{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endmacro %}"
)


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    """A copy of the tiny policy's directory."""
    return Path(shutil.copytree(BASE, tmp_path / "model"))


def rewrite(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), encoding="utf-8")


def replace_in(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def causes(report):
    return {finding.drift.cause for finding in report.findings}


# --- sound directories -----------------------------------------------------------------------------------------------


def test_the_tiny_policy_has_no_drift():
    report = check(BASE)
    assert report.findings == ()
    assert set(report.compared) >= {"transformers agent", "loop in verl", "vLLM endpoint", "transformers endpoint"}
    assert min(report.compared.values()) == len([each for each in RECORDINGS if not each.native])
    assert "native calls" in report.notes[0]


@pytest.mark.integration
def test_native_calls_are_compared_where_the_template_writes_them(folder):
    before = check(folder).compared["vLLM endpoint"]
    (folder / "chat_template.jinja").write_text(PARTS + WITH_CALLS, encoding="utf-8")
    report = check(folder)
    assert report.findings == ()
    assert len(report.notes) == 1
    assert "which transformers serve drops" in report.notes[0]
    assert report.compared["vLLM endpoint"] == before + 2


@pytest.mark.slow
def test_the_realistic_directory_has_no_drift(tmp_path):
    file = realistic.resource()
    if file is None:
        pytest.skip("dashscope, which brings Qwen's tokenizer, is not installed")
    kept = Path(os.environ.get("DEEPEYES_REALISTIC", tmp_path / "realistic"))
    real = kept if (kept / "config.json").is_file() else realistic.build(kept, file)
    assert check(real).findings == ()


def test_the_recordings_hold_what_they_are_there_for():
    model = ModelDirectory.load(BASE)
    episodes = {each.name: play(each, model) for each in RECORDINGS}
    assert len(episodes["several images"].prompt.images) == 2
    assert [len(turn.results) for turn in episodes["several images"].turns] == [3, 1, 0]
    assert episodes["several images"].image_count == 6
    assert [turn.results[0].status for turn in episodes["failed calls"].turns[:4]] == [
        *("malformed", "unknown_tool", "bad_arguments"),
        "ok",
    ]
    cut = [turn.finish_reason for turn in episodes["cut messages"].turns]
    assert cut == ["length", "stop", "length"]
    assert [len(turn.results) for turn in episodes["native calls"].turns] == [2, 1, 0]
    for episode in episodes.values():
        ours = ways.trained(model, episode)
        assert sum(ours.mask) == sum(len(turn.tokens.ids) for turn in episode.turns)


# --- planted faults --------------------------------------------------------------------------------------------------


def test_a_template_that_forgets_thoughts(folder):
    message = "{% if message.role == 'assistant' and not loop.last and message.content is not string %}"
    forgetting = message + "{{ message.content[0].text.split('</think>')[-1] }}{% elif message.content is string %}"
    replace_in(folder / "chat_template.jinja", "{% if message.content is string %}", forgetting)
    report = check(folder)
    assert causes(report) == {"template"}
    first = report.findings[0]
    assert (first.recording, first.way, first.request) == ("one zoom", "vLLM endpoint", 2)
    assert "'<think>I look closer." in first.drift.detail


def test_a_template_that_strips_messages(folder):
    replace_in(folder / "chat_template.jinja", "{{ part.text }}", "{{ part.text | trim }}")
    assert causes(check(folder)) == {"template"}


def test_a_processor_with_another_template(folder):
    template = (folder / "chat_template.jinja").read_text("utf-8")
    rewrite(folder / "tokenizer_config.json", chat_template=template)
    (folder / "chat_template.jinja").unlink()
    assert check(folder).findings == ()
    other = template.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n\n")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": other}), encoding="utf-8")
    report = check(folder)
    assert causes(report) == {"template"}
    assert {finding.way for finding in report.findings} == {"transformers endpoint"}


@pytest.mark.integration
def test_a_tokenizer_that_merges_across_the_boundary(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["\n<think>"])
    tokenizer.save_pretrained(folder)
    report = check(folder)
    assert causes(report) == {"retokenization"}
    assert {finding.way for finding in report.findings} == {"vLLM endpoint", "transformers endpoint"}
    first = report.findings[0]
    model = ModelDirectory.load(folder)
    ours = ways.trained(model, play(RECORDINGS[0], model))
    second = ours.mask.index(True, ours.mask.index(False, ours.mask.index(True)))
    assert first.request == 2
    assert first.drift.position in (ours.mask.index(True) - 1, second - 1)
    assert tokenizer.decode([ours.ids[first.drift.position]]).endswith("\n")


@pytest.mark.parametrize("change", [{"merge_size": 4}, {"patch_size": 16}])
def test_a_wrong_image_count(folder, change):
    rewrite(folder / "preprocessor_config.json", **change)
    report = check(folder)
    assert causes(report) == {"image count"}
    first = report.findings[0]
    assert first.drift.detail.startswith("image 1 is ")
    assert "28 x 28" in first.remedy
    assert next(iter(change)) in first.remedy


def test_a_wrong_image_count_as_transformers_5_saves_it(folder):
    alone = folder / "preprocessor_config.json"
    images = json.loads(alone.read_text("utf-8"))
    alone.unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": images}), encoding="utf-8")
    assert check(folder).findings == ()
    rewrite(folder / "processor_config.json", image_processor={**images, "merge_size": 4})
    assert causes(check(folder)) == {"image count"}


def test_an_image_that_a_tokenizer_truncates(folder):
    rewrite(folder / "tokenizer_config.json", truncation=True, max_length=130)
    report = check(folder)
    assert "truncated image" in causes(report)
    assert causes(report) <= {"truncated image", "truncation"}
    assert {finding.way for finding in report.findings} == {"transformers endpoint"}


def test_an_image_that_a_limit_cuts_in_two():
    model = ModelDirectory.load(BASE)
    ids = ways.trained(model, play(RECORDINGS[0], model)).ids
    last = len(ids) - 1 - ids[::-1].index(model.image_token)
    report = check(BASE, max_tokens=last - 5)
    assert {finding.way for finding in report.findings} == {f"cut at {last - 5} tokens"}
    first = report.findings[0]
    assert (first.recording, first.drift.cause, first.drift.position) == ("one zoom", "truncated image", last - 5)
    assert "of image 2 " in first.drift.detail


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_on_a_sound_directory():
    result = deepeyes("conformance", BASE)
    assert result.exit_code == 0, result.output
    assert "vLLM endpoint: same tokens" in result.stdout
    assert "drifts" not in result.stdout


def test_the_command_names_token_and_cause(folder):
    rewrite(folder / "preprocessor_config.json", merge_size=4)
    result = deepeyes("conformance", folder)
    assert result.exit_code == 1
    assert "vLLM endpoint: drifts" in result.stdout
    assert "transformers agent: same tokens" in result.stdout
    assert "image count: 'one zoom', vLLM endpoint, prompt of message 1, token " in result.stdout


def test_what_is_no_model_directory_is_told(tmp_path):
    result = deepeyes("conformance", tmp_path)
    assert result.exit_code == 1
    assert "has no config.json" in result.stderr
