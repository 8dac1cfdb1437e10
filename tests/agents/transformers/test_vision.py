"""Patches and the vision tower against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.pixels import patches  # noqa: E402
from deepeyes_env.agents.transformers.vision import encode_images  # noqa: E402

SHAPES = [
    [(112, 112)] * 3,
    [(56, 84)],
    [(28, 28), (28, 28)],
    [(84, 140), (140, 84), (84, 140), (112, 112)],
    [(112, 112), (28, 280)],
]


def images(shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for width, height in shapes]


def grids(shapes):
    return [(width // 28, height // 28) for width, height in shapes]


@pytest.mark.parametrize("shapes", SHAPES)
def test_patches_are_those_of_the_image_processor(shapes):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2, do_resize=False)
    pictures = images(shapes)
    theirs = processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert torch.allclose(patches(pictures, 14, 2, frames=2), theirs, atol=1e-5)


@pytest.mark.parametrize("shapes", SHAPES)
def test_tower_is_that_of_transformers(policy, shapes):
    tower = policy.model.model.visual
    pictures = images(shapes)
    grid = torch.tensor([[1, rows * 2, columns * 2] for columns, rows in grids(shapes)])
    with torch.no_grad():
        theirs = tower(patches(pictures, 14, 2, frames=2), grid_thw=grid).pooler_output
        ours = encode_images(tower, patches(pictures, 14, 2), grids(shapes))
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=2e-5)


def test_gradients_are_the_same_with_checkpointing(policy):
    tower = policy.model.model.visual
    shapes = SHAPES[3]
    weight = tower.blocks[0].attn.qkv.weight

    def gradient():
        tower.zero_grad()
        encode_images(tower, patches(images(shapes), 14, 2), grids(shapes)).square().sum().backward()
        return weight.grad.clone()

    plain = gradient()
    tower.gradient_checkpointing = True
    try:
        again = gradient()
    finally:
        tower.gradient_checkpointing = False
        tower.zero_grad(set_to_none=True)
    assert plain.abs().max() > 0
    assert torch.allclose(plain, again, rtol=1e-4, atol=1e-5)


def test_an_image_of_another_size_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"100 x 112 .* multiples of 28; give the environment a view budget"):
        patches([np.zeros((112, 100, 3), np.uint8)], 14, 2)
