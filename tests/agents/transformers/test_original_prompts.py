"""Rows as the original's data scripts write them become the very tokens that the original made of them.

The original renders a row's messages with the model's chat template, puts an image's tokens in the place of each
``<image>``, and encodes; what follows a message of the policy it writes as text with the template's marks in it, and
appends. That is done here by hand; ours goes from the parquet file through the environment and ``Chat``.
"""

from __future__ import annotations

import functools
import io
import re
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402
from PIL import Image as PILImage  # noqa: E402
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize  # noqa: E402

from deepeyes_env import Image, ViewBudget, register_toolbox, tool  # noqa: E402
from deepeyes_env.agents.transformers.chat import Chat  # noqa: E402
from deepeyes_env.core import PolicyTokens  # noqa: E402
from deepeyes_env.data import load  # noqa: E402
from deepeyes_env.protocols import PromptTemplate  # noqa: E402
from tests.conftest import pattern, read_golden, zoom_text  # noqa: E402
from tests.small_model import byte_tokenizer  # noqa: E402

VIEW = ViewBudget()
QUESTION = "What is written on the café's sign  ?"
TOOLS = (
    '{"type":"function","function":{"name":"image_zoom_in_tool","description":"Zoom in on a region.","parameters":'
    '{"type":"object","properties":{"bbox_2d":{"type":"array"},"label":{"type":"string"}},"required":["bbox"]}}}'
)
SYSTEM = (
    f"You are a helpful assistant.\n\n# Tools\nSignatures:\n<tools>\n{TOOLS}\n</tools>\n\n# How to call a tool\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>\n\n**Example**:  \n'
    '<tool_call>  \n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [10, 20, 100, 200]}}  \n</tool_call>'
)
ASKS = "\nThink first, call **image_zoom_in_tool** if needed. Format:  <think>...</think>  <answer>...</answer> "
REASONS = "You are a helpful assistant. Write <think>...</think> and <answer>...</answer>."


def row(env_name, user, system=SYSTEM, data_source="vstar"):
    data = io.BytesIO()
    PILImage.fromarray(pattern(640, 480)).save(data, "PNG")
    return {
        "data_source": data_source,
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "images": [{"bytes": data.getvalue(), "path": "gqa/1.jpg"}],
        "ability": "vl",
        "env_name": env_name,
        "reward_model": {"style": "rule", "ground_truth": "open"},
        "extra_info": {"split": "train", "index": 3, "answer": "open", "question": QUESTION},
    }


def real_tokenizer():
    realistic = pytest.importorskip("tests.realistic", reason="no recipe of the 151k tokenizer")
    if (file := realistic.resource()) is None:
        pytest.skip("dashscope, which brings Qwen's BPE, is not installed")
    return realistic.make_tokenizer(file)


@functools.cache
def chat_of(kind):
    tokenizer = byte_tokenizer() if kind == "bytes" else real_tokenizer()
    return Chat(tokenizer, tokenizer.convert_tokens_to_ids("<|image_pad|>"), VIEW.factor)


@pytest.fixture(params=["bytes", "qwen"])
def chat(request):
    return chat_of(request.param)


# --- the original's own way ------------------------------------------------------------------------------------------


def with_images(text, sizes):
    """Put the image tokens of sizes in the place of ``<image>`` or of the template's single tokens."""
    for width, height in sizes:
        h, w = smart_resize(height, width, factor=28, min_pixels=VIEW.min_pixels, max_pixels=VIEW.max_pixels)
        text = re.sub(r"<image>|<\|image_pad\|>", "<|PAD|>" * (h * w // 28**2), text, count=1)
    return text.replace("<|PAD|>", "<|image_pad|>")


def original_prompt(tokenizer, messages, sizes):
    told = [
        {
            "role": message["role"],
            "content": [
                {"type": "image"} if part == "<image>" else {"type": "text", "text": part}
                for part in re.split("(<image>|<video>)", message["content"])
                if part
            ],
        }
        for message in messages
    ]
    text = tokenizer.apply_chat_template(told, add_generation_prompt=True, tokenize=False)
    return ids_of(tokenizer, with_images(text, sizes))


def original_observation(tokenizer, text, sizes):
    marked = text.replace("<image>", "<|vision_start|><image><|vision_end|>")
    return ids_of(tokenizer, with_images(marked, sizes))


def ids_of(tokenizer, text):
    return list(tokenizer(text, add_special_tokens=False).input_ids)


# --- ours ------------------------------------------------------------------------------------------------------------


def begun(tmp_path, written, **kwargs):
    pq.write_table(pa.Table.from_pylist([written]), tmp_path / "train.parquet")
    env = gym.make("VisualToolbox-v2", dataset=load(tmp_path / "train.parquet"), view=VIEW, **kwargs)
    env.reset(seed=0)
    return env.unwrapped


def ours(chat, trajectory):
    """The tokens of an episode."""
    return chat.sequence(trajectory).ids.tolist()


def sampled(chat, trajectory, begins=""):
    """An episode whose messages were sampled as they stand there, but for what was written for the policy."""
    turns = []
    for number, turn in enumerate(trajectory.turns):
        said = turn.action.removeprefix(begins if number else "")
        ids = (*ids_of(chat.tokenizer, said), chat.end_of_turn)
        turns.append(replace(turn, tokens=PolicyTokens(ids)))
    return replace(trajectory, turns=tuple(turns))


SCRIPTS = {
    "V2": (row("visual_toolbox_v2", f"<image>\n\nQuestion:\n{QUESTION}{ASKS}"), f"<image>{ASKS}"),
    "chart": (row("visual_toolbox_v2", f"<image>\n{QUESTION}{ASKS}", data_source="chart"), f"<image>{ASKS}"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_row_of_deepeyes_and_what_follows(chat, tmp_path, name):
    written, within = SCRIPTS[name]
    env = begun(tmp_path, written)
    zoom, answer = zoom_text([100, 100, 400, 300]), "<think>Now I can.</think><answer>open</answer>"
    env.step(zoom)
    env.step(answer)
    tokenizer = chat.tokenizer
    frame = "\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    expected = [
        *original_prompt(tokenizer, written["prompt"], [(640, 480)]),
        *ids_of(tokenizer, f"{zoom}<|im_end|>"),
        *original_observation(tokenizer, frame.format(f"<tool_response>{within}</tool_response>"), [(300, 200)]),
        *ids_of(tokenizer, f"{answer}<|im_end|>"),
    ]
    assert ours(chat, sampled(chat, env.trajectory)) == expected


def test_a_row_of_v5_with_several_calls(chat, tmp_path):
    written = row("visual_toolbox_v5", f"<image>\n{QUESTION}{ASKS}")
    env = begun(tmp_path, written)
    zooms = zoom_text([100, 100, 400, 300]) + zoom_text([0, 0, 640, 200])
    env.step(zooms)
    env.step("<answer>open</answer>")
    tokenizer = chat.tokenizer
    tags = "<tool_response>\n<image>\n</tool_response>\n" * 2
    frame = f"\n<|im_start|>user\n{tags}{ASKS}<|im_end|>\n<|im_start|>assistant\n"
    expected = [
        *original_prompt(tokenizer, written["prompt"], [(640, 480)]),
        *ids_of(tokenizer, f"{zooms}<|im_end|>"),
        *original_observation(tokenizer, frame, [(300, 200), (640, 200)]),
        *ids_of(tokenizer, "<answer>open</answer><|im_end|>"),
    ]
    assert ours(chat, sampled(chat, env.trajectory)) == expected


def test_an_ordinary_row(chat, tmp_path):
    written = row("", f"<image>{QUESTION}", system=REASONS, data_source="thinklite_eureka")
    env = begun(tmp_path, written)
    assert chat.prompt(env.trajectory).ids.tolist() == original_prompt(chat.tokenizer, written["prompt"], [(640, 480)])


def test_our_own_wording_gives_other_tokens(chat, tmp_path):
    """So that a test that compares nothing cannot pass."""
    written = SCRIPTS["V2"][0]
    env = begun(tmp_path, written, prompt="protocol")
    assert chat.prompt(env.trajectory).ids.tolist() != original_prompt(chat.tokenizer, written["prompt"], [(640, 480)])


# --- DeepEyesV2 ------------------------------------------------------------------------------------------------------

RECORDED = {record["kind"]: record for record in read_golden("deepeyes_v2_observations.jsonl")}
FRAME = re.compile(r"<\|im_end\|>\n<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n<think>", re.DOTALL)


@tool
def recorded(kind: str) -> list:
    """Return what the original's tool returned.

    Args:
        kind: Which record.
    """
    record = RECORDED[kind]
    said = FRAME.fullmatch(record["obs"])[1]
    images: list[Image] = [pattern(*size) for size in record["image_sizes"]]
    return [said.removesuffix("<image>" * len(images)), *images]


register_toolbox("Recorded-v0", tools=[recorded])


@pytest.mark.parametrize("kind", RECORDED)
def test_a_row_of_deepeyes_v2_and_what_follows(chat, tmp_path, kind):
    """The opening mark of a thought is written for the policy after each result: ``prefill``."""
    written = row("Recorded-v0", f"<image>\n{QUESTION}", data_source="perception")
    template = PromptTemplate(observation="{{ results }}", prefill="<think>")
    env = begun(tmp_path, written, prompt_template=template)
    call = f'<think>Run it.</think><tool_call>{{"name": "recorded", "arguments": {{"kind": "{kind}"}}}}</tool_call>'
    env.step(call)
    env.step("Seen.</think><answer>open</answer>")
    record = RECORDED[kind]
    tokenizer = chat.tokenizer
    expected = [
        *original_prompt(tokenizer, written["prompt"], [(640, 480)]),
        *ids_of(tokenizer, call),
        *original_observation(tokenizer, record["obs"], record["image_sizes"]),
        *ids_of(tokenizer, "Seen.</think><answer>open</answer><|im_end|>"),
    ]
    trajectory = env.trajectory
    assert trajectory.turns[1].action == "<think>Seen.</think><answer>open</answer>"
    assert ours(chat, sampled(chat, trajectory, begins="<think>")) == expected
    assert np.array_equal(chat.prompt(trajectory).ids, expected[: len(chat.prompt(trajectory).ids)])
