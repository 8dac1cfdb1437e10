"""VLLMAgent without vLLM: what can be told of it; tests/servers/test_vllm_cpu.py runs the real thing."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.agents.vllm_agent import VLLMAgent, folded, prompt_of
from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import install_command
from deepeyes_env.images.ref import ImageRef

IMAGE = 99


def conversation(parts):
    """Token ids in which a pair stands for an image of so many cells."""
    ids, images = [], []
    for part in parts:
        if isinstance(part, tuple):
            images.append(ImageRef.of(np.full((28 * part[1], 28 * part[0], 3), len(images), np.uint8)))
            ids += [IMAGE] * (part[0] * part[1])
        else:
            ids.append(part)
    return TokenSequence.context(np.array(ids, np.int64), images)


CELLS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(st.lists(st.integers(0, 98) | CELLS, min_size=1))
def test_each_image_is_one_token_even_beside_another(parts):
    expected = [IMAGE if isinstance(part, tuple) else part for part in parts]
    assert folded(conversation(parts), IMAGE, 28).tolist() == expected


def test_images_are_named_by_our_hashes():
    tokens = conversation([1, (2, 1), 3, (1, 1)])
    prompt = prompt_of(tokens, IMAGE, 28)
    assert prompt["prompt_token_ids"] == [1, IMAGE, 3, IMAGE]
    assert prompt["multi_modal_uuids"] == {"image": [image.digest for image in tokens.images]}
    assert [image.size for image in prompt["multi_modal_data"]["image"]] == [(56, 28), (28, 28)]
    assert "multi_modal_data" not in prompt_of(conversation([1, 2]), IMAGE, 28)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_the_remedy_is_named():
    with pytest.raises(MissingExtraError, match=re.escape(install_command("vllm"))):
        VLLMAgent("Qwen/Qwen2.5-VL-7B-Instruct")


def test_a_model_of_tiles_goes_by_an_endpoint():
    with pytest.raises(ValueError, match="OpenAIAgent"):
        VLLMAgent("OpenGVLab/InternVL3-8B")
