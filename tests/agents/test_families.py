"""Model families: frames and token counts, against the processors of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepeyes_env.agents.families import (
    FAMILIES,
    MOST_TILES,
    TILE,
    TILE_TOKENS,
    ModelFamily,
    family_of,
    frame_of,
    register_family,
)
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import MAX_ASPECT_RATIO, MIN_SIDE, ViewBudget

NAMES = {
    "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2_5_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "ChenShawn/DeepEyes-7B": "qwen2_5_vl",
    "honglyhly/DeepEyesV2_7B_1031": "qwen2_5_vl",
    "Qwen/Qwen2-VL-72B-Instruct-AWQ": "qwen2_vl",
    "Qwen/Qwen3-VL-235B-A22B-Instruct": "qwen3_vl",
    "OpenGVLab/InternVL3_5-8B": "internvl",
}


@pytest.mark.parametrize(("name", "model_type"), NAMES.items())
def test_the_family_is_read_off_the_name(name, model_type):
    assert family_of(name) == FAMILIES[model_type]


def test_frames_are_those_that_the_models_were_trained_with():
    assert frame_of("Qwen2.5-VL-7B") == "view"
    assert frame_of("Qwen2-VL-7B") == frame_of("Qwen3-VL-8B") == frame_of("InternVL3-8B") == "norm1000"


def test_the_user_knows_better():
    assert frame_of("my-model", "unit") == "unit"
    assert frame_of("Qwen2.5-VL-7B", "norm1000") == "norm1000"
    assert family_of("Qwen2.5-VL-7B", "native").view == FAMILIES["qwen2_5_vl"].view


def test_a_family_of_ones_own_is_known_by_the_names_of_its_models():
    view = ViewBudget(32 * 32, 64 * 32 * 32, 32)
    family = register_family(ModelFamily("test_looker", "unit", view, names=("Test-Looker",)))
    assert family_of("me/test_looker-7B") == family_of("test_looker") == family
    longer = register_family(ModelFamily("test_looker_xl", "native", names=("test looker XL",)))
    assert family_of("me/Test-Looker-XL") == longer
    with pytest.raises(UsageError, match="the model family 'qwen2_vl' belongs to the package"):
        register_family(ModelFamily("qwen2_vl", "unit"))


@pytest.mark.parametrize(
    ("budget", "shown"),
    [
        (ViewBudget(), ViewBudget(256 * 256, 1280 * 28 * 28, 32)),
        (ViewBudget(max_pixels=112 * 112), ViewBudget(112 * 112, 112 * 112, 32)),
        (ViewBudget(max_pixels=10**9), ViewBudget(256 * 256, 4096 * 4096, 32)),
        (ViewBudget(min_pixels=784, max_pixels=784), ViewBudget(32 * 32, 32 * 32, 32)),
    ],
)
def test_what_is_shown_suits_the_processor(budget, shown):
    assert FAMILIES["qwen3_vl"].view_within(budget) == shown
    assert FAMILIES["internvl"].view_within(budget) == budget
    assert FAMILIES["qwen2_5_vl"].view_within(ViewBudget()) == ViewBudget()


def test_an_unknown_model_is_never_guessed():
    with pytest.raises(ValueError, match=r"'gpt-9'.*frame=native\|view\|norm1000\|unit"):
        frame_of("gpt-9")
    with pytest.raises(ValueError, match="unknown coordinate frame 'pixels'"):
        frame_of("Qwen3-VL-8B", "pixels")


def test_a_directory_says_itself_what_it_is(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    processor = {"min_pixels": 3136, "max_pixels": 100352, "patch_size": 14, "merge_size": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    family = family_of(tmp_path)
    assert family.view == ViewBudget(3136, 100352, 28)
    assert family.visual_tokens((4000, 3000)) <= 128
    (tmp_path / "preprocessor_config.json").unlink()
    settings = {"size": {"shortest_edge": 784, "longest_edge": 200704}, "patch_size": 14, "merge_size": 2}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert family_of(tmp_path).view == ViewBudget(784, 200704, 28)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    with pytest.raises(ValueError, match="known families: qwen2_vl"):
        family_of(tmp_path)


NEEDLES = {(38, 5615): 201, (5615, 38): 201, (29, 5650): 202, (41, 8200): 293, (28, 5600): 200, (30, 5985): 214}


@pytest.mark.parametrize(("size", "tokens"), NEEDLES.items())
def test_a_needle_costs_what_the_processor_makes_of_it(size, tokens):
    """Its rule may give a size that it would refuse if it were asked again; it is not."""
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    view = FAMILIES["qwen2_5_vl"].view
    processor = module.Qwen2VLImageProcessorPil(min_pixels=view.min_pixels, max_pixels=view.max_pixels)
    width, height = size
    (grid,) = processor(images=[np.zeros((height, width, 3), np.uint8)], return_tensors="np")["image_grid_thw"]
    assert int(grid.prod()) // 4 == FAMILIES["qwen2_5_vl"].visual_tokens(size) == tokens


@given(st.integers(MIN_SIDE, 6000), st.integers(MIN_SIDE, 6000))
@example(38, 5615)
def test_qwen_tokens_are_those_of_the_processor(width, height):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        return  # the processor refuses it
    for name in ("qwen2_5_vl", "qwen3_vl"):
        view = FAMILIES[name].view
        rows, columns = module.smart_resize(height, width, view.factor, view.min_pixels, view.max_pixels)
        assert FAMILIES[name].visual_tokens((width, height)) == rows * columns // view.factor**2


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_internvl_tiles_are_those_of_the_processor(width, height):
    module = pytest.importorskip("transformers.models.got_ocr2.image_processing_pil_got_ocr2")
    columns, rows = module.get_optimal_tiled_canvas((height, width), (TILE, TILE), 1, MOST_TILES)
    tiles = columns * rows + (columns * rows > 1)
    assert FAMILIES["internvl"].visual_tokens((width, height)) == TILE_TOKENS * tiles
