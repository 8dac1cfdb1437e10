"""Patches and the vision tower against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.pixels import patches  # noqa: E402
from deepeyes_env.agents.transformers.vision import encode_images  # noqa: E402

SHAPES = [
    [(4, 4)] * 3,
    [(2, 3)],
    [(1, 1), (1, 1)],
    [(3, 5), (5, 3), (3, 5), (4, 4)],
    [(4, 4), (1, 10)],
]
"""Of images, in image tokens: ``(columns, rows)``."""


def images(grids, factor=28):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (rows * factor, columns * factor, 3), np.uint8) for columns, rows in grids]


@pytest.mark.parametrize("grids", SHAPES)
@pytest.mark.parametrize(("patch", "channels"), [(14, {}), (16, {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)})])
def test_patches_are_those_of_the_image_processor(grids, patch, channels):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    theirs = {f"image_{name}": value for name, value in channels.items()}
    processor = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, temporal_patch_size=2, do_resize=False, **theirs
    )
    pictures = images(grids, 2 * patch)
    expected = processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert torch.allclose(patches(pictures, patch, 2, frames=2, **channels), expected, atol=1e-5)


@pytest.mark.parametrize("grids", SHAPES)
def test_tower_is_that_of_transformers(any_policy, grids):
    tower, patch = any_policy.model.model.visual, any_policy.factor // 2
    pictures = images(grids, 2 * patch)
    grid = torch.tensor([[1, rows * 2, columns * 2] for columns, rows in grids])
    with torch.no_grad():
        output = tower(patches(pictures, patch, 2, frames=2), grid_thw=grid)
        ours = encode_images(tower, patches(pictures, patch, 2), grids)
    theirs = torch.stack([output.pooler_output, *getattr(output, "deepstack_features", ())], 1)
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=2e-5)


def test_gradients_are_the_same_with_checkpointing(any_policy):
    tower, patch = any_policy.model.model.visual, any_policy.factor // 2
    grids = SHAPES[3]
    weight = tower.blocks[0].attn.qkv.weight

    def gradient():
        tower.zero_grad()
        encode_images(tower, patches(images(grids, 2 * patch), patch, 2), grids).square().sum().backward()
        return weight.grad.clone()

    plain = gradient()
    any_policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        again = gradient()
    finally:
        any_policy.model.gradient_checkpointing_disable()
        tower.zero_grad(set_to_none=True)
    assert plain.abs().max() > 0
    assert torch.allclose(plain, again, rtol=1e-4, atol=1e-5)


def test_an_image_of_another_size_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"100 x 112 .* multiples of 28; give the environment a view budget"):
        patches([np.zeros((112, 100, 3), np.uint8)], 14, 2)
