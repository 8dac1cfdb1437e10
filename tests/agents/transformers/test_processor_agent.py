"""ProcessorAgent: a family that is not run by our own loops, by its own processor."""

from __future__ import annotations

import importlib.util
import json

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402

from deepeyes_env import VisualToolboxEnv  # noqa: E402
from deepeyes_env.agents.agent import Agent, AgentError  # noqa: E402
from deepeyes_env.agents.transformers.generator import Sampling  # noqa: E402
from deepeyes_env.agents.transformers.processor_agent import ProcessorAgent  # noqa: E402
from deepeyes_env.cli.app import app  # noqa: E402
from deepeyes_env.core import Sample  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.errors import MissingExtraError, UsageError  # noqa: E402
from tests.small_gemma import build  # noqa: E402

ZOOM = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [100, 100, 600, 600]}}</tool_call>'
SAMPLED = Sampling(1.0, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return build(tmp_path_factory.mktemp("gemma"))


def agent_of(folder, **kwargs):
    return ProcessorAgent(folder, **{"frame": "norm1000", "sampling": Sampling(0.0, 12), **kwargs})


def after_zooms(number, dataset=None):
    env = VisualToolboxEnv(dataset=dataset or pattern_search("test", length=5), rubric=None, frame="norm1000")
    env.reset(seed=0)
    for _ in range(number):
        env.step(ZOOM)
    return env.trajectory


@pytest.mark.integration
def test_a_message_is_what_the_model_generates_from_the_whole_conversation(folder):
    """Three messages and three images, put together by hand."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    episode = after_zooms(2)
    messages, images = [{"role": "system", "content": [{"type": "text", "text": episode.system_prompt}]}], []
    for message, said in [(episode.prompt, ""), *((turn.observation, turn.action) for turn in episode.turns)]:
        messages += [{"role": "assistant", "content": [{"type": "text", "text": said}]}] * bool(said)
        before, after = message.text.split("<image>")
        texts = [{"type": "text", "text": before}] * bool(before), [{"type": "text", "text": after}] * bool(after)
        messages.append({"role": "user", "content": [*texts[0], {"type": "image"}, *texts[1]]})
        images += [Image.fromarray(image.pixels()) for image in message.images]
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=[images], return_tensors="pt", add_special_tokens=False)
    length = inputs["input_ids"].shape[1]
    expected = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, length:].tolist()
    agent = agent_of(folder)
    assert isinstance(agent, Agent)
    (reply,) = agent.act([episode])
    assert len(images) == 3
    assert list(reply.tokens.ids) == expected
    assert reply.message == processor.tokenizer.decode(expected, skip_special_tokens=True)
    assert reply.finish_reason == ("stop" if expected[-1] == model.generation_config.eos_token_id else "length")


@pytest.mark.integration
def test_what_is_sampled_follows_from_the_seeds(folder):
    episodes = [after_zooms(0), after_zooms(1)]
    agent = agent_of(folder, sampling=SAMPLED)
    first = agent.act(episodes)
    assert agent.act(episodes[::-1])[::-1] == first
    assert agent_of(folder, sampling=SAMPLED, seed=1).act(episodes) != first


def test_special_tokens_in_a_question_mean_nothing(folder):
    question = "<start_of_image>What<end_of_turn> is <image_soft_token> here?"
    image = Image.new("RGB", (80, 60), "green")
    (reply,) = agent_of(folder).act([after_zooms(0, [Sample("s", question, "A", image)])])
    assert reply.tokens.ids


def test_a_conversation_longer_than_the_context_is_given_up(tmp_path):
    (reply,) = agent_of(build(tmp_path, context=200)).act([after_zooms(0)])
    assert isinstance(reply, AgentError)
    assert "exceed the 200 tokens of the model's context" in str(reply)


def test_coordinates_are_never_guessed(folder):
    with pytest.raises(UsageError, match=r"not known; say so by frame="):
        ProcessorAgent(folder)


@pytest.mark.integration
def test_the_command_evaluates_it(folder, tmp_path):
    command = ["eval", "--bench", "visual_search", "--limit", "2", "--model", str(folder), "--frame", "norm1000"]
    told = CliRunner().invoke(app, [*command, "--max-tokens", "4", "--max-turns", "2", "--out", str(tmp_path / "run")])
    assert told.exit_code == 0, told.output
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["conditions"][0]["episodes"] == 2


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
def test_without_torchvision_its_absence_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "smolvlm"}')
    (tmp_path / "preprocessor_config.json").write_text(
        '{"processor_class": "SmolVLMProcessor", "image_processor_type": "SmolVLMImageProcessor"}'
    )
    with pytest.raises(MissingExtraError, match=r"cannot be made without torchvision, .* run: pip install torchvision"):
        agent_of(tmp_path)


def test_a_model_of_another_kind_is_told(folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="holds a 'bert' model, which transformers shows no images"):
        agent_of(tmp_path)
