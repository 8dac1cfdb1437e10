"""Image search: cached results as the original writes them, and crops found among the images of a folder."""

import json

import numpy as np
import pytest
from PIL import Image as PILImage

from deepeyes_env import Sample, ToolCall, ToolResult, UsageError
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import DataError
from deepeyes_env.images import ImageRef
from deepeyes_env.protocols import get_protocol
from deepeyes_env.protocols.tagged import response_text
from deepeyes_env.tools.search.images import (
    CachedImageSearch,
    FolderImageSearch,
    ImageHit,
    get_image_search,
    image_search_observation,
)
from deepeyes_env.tools.search.results import SearchError
from tests.conftest import pattern, read_golden

V2 = get_protocol("deepeyes_v2")
RECORD = next(r for r in read_golden("deepeyes_v2_execute.jsonl") if r["kind"] == "image_search")


def sample(**fields):
    return Sample(**{"id": "fvqa_train_1", "question": "Who?", "answer": "A", "images": (pattern(60, 50),), **fields})


def write_cache(folder, titles, paths, index="fvqa_train_1"):
    file = folder / "cache.json"
    row = {"tool_returned_web_title": titles, "cached_images_path": paths}
    file.write_text(json.dumps({index: row}), encoding="utf-8")
    return file


@pytest.fixture
def cache(tmp_path):
    """What the record was made of: three rows, the second without its image."""
    for name, size in (("a.png", (64, 48)), ("c.png", (40, 40))):
        PILImage.fromarray(pattern(*size)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    return write_cache(tmp_path, ["First", "Second", "Broken", "Third"], ["a.png", None, "broken.png", "c.png"])


def test_what_is_found_is_told_in_the_original_s_words(cache):
    hits = CachedImageSearch(cache).search(sample(), pattern(60, 50))
    images = tuple(hit.image for hit in hits)
    result = ToolResult(ToolCall("image_search", {}), text=image_search_observation(hits), images=images)
    assert f"user\n{V2.reply([result], 0)}<|im_end|>" in RECORD["obs"]
    assert [list(image.size) for image in images] == RECORD["image_sizes"]


def test_an_episode_of_the_environment(cache, monkeypatch):
    monkeypatch.setenv("DEEPEYES_IMAGE_SEARCH", str(cache))
    env = VisualToolboxEnv("DeepEyesV2-v0", [sample(id="row 7", metadata={"index": "fvqa_train_1"})], view=None)
    _, info = env.reset(seed=0)
    assert [schema["function"]["name"] for schema in info["tools"]] == ["python", "search", "image_search"]
    observation, *_ = env.step('<think>Who?</think><tool_call>{"name": "image_search"}</tool_call>')
    assert f"user\n{observation['text']}<|im_end|>" in RECORD["obs"]
    assert [image.shape[:2] for image in observation["images"]] == [(48, 64), (40, 40)]


def test_a_question_that_was_not_searched_for_is_told(cache, monkeypatch):
    """The original ends the episode here."""
    monkeypatch.setenv("DEEPEYES_IMAGE_SEARCH", str(cache))
    env = VisualToolboxEnv("DeepEyesV2-v0", [sample(id="fvqa_train_99")])
    env.reset(seed=0)
    observation, _, terminated, *_ = env.step('<tool_call>{"name": "image_search"}</tool_call>')
    assert observation["text"] == "Error: no images were found"
    assert not terminated
    with pytest.raises(SearchError):
        CachedImageSearch(cache).search(sample(id="x"), pattern(8, 8))


def test_every_placeholder_has_its_image():
    """The original writes twelve here, and sends ten images."""
    hits = [
        ImageHit(f"Title <image> {n} \N{OBJECT REPLACEMENT CHARACTER}", ImageRef(pattern(40, 40))) for n in range(12)
    ]
    images = tuple(hit.image for hit in hits[:10])
    result = ToolResult(ToolCall("image_search", {}), text=image_search_observation(hits), images=images)
    told = V2.reply([result], 0)
    assert told.count("<image>") == response_text(result).count("<image>") == 10
    assert "Note: 2 more were found" in told
    assert told.index("1. <image>") < told.index("[Title < image > 0") < told.index("2. <image>")


def test_files_of_another_form_are_told(tmp_path):
    with pytest.raises(DataError, match="'x': needs tool_returned_web_title and cached_images_path"):
        CachedImageSearch(write_cache(tmp_path, ["a"], [], index="x"))
    (tmp_path / "cache.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as an image search cache"):
        get_image_search(tmp_path / "cache.json")
    with pytest.raises(UsageError, match="is no folder with images"):
        get_image_search(tmp_path)


def test_images_outside_of_the_cache_s_folder_are_not_read(tmp_path):
    (tmp_path / "inner").mkdir()
    PILImage.fromarray(pattern(9, 9)).save(tmp_path / "secret.png")
    search = CachedImageSearch(write_cache(tmp_path / "inner", ["a"], ["../secret.png"]))
    assert search.search(sample(), pattern(8, 8)) == []


def photograph(seed):
    """Blots and strokes at random: as many features as a photograph has, and no two alike."""
    rng = np.random.default_rng(seed)
    coarse = PILImage.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    image = coarse.resize((480, 360), PILImage.Resampling.BICUBIC)
    pixels = np.array(image)
    for _ in range(60):
        x, y, w, h = *rng.integers(0, (460, 340)), *rng.integers(4, 40, 2)
        pixels[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return pixels


@pytest.mark.integration
def test_a_crop_finds_its_image(tmp_path):
    pytest.importorskip("cv2")
    for number in range(5):
        PILImage.fromarray(photograph(number)).save(tmp_path / f"photo{number}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    PILImage.new("RGB", (50, 50)).save(tmp_path / "black.png")
    search = FolderImageSearch(tmp_path)
    for number in (1, 4):
        crop = photograph(number)[90:300, 100:350]  # 30 % of the area
        enlarged = np.asarray(PILImage.fromarray(crop).resize((700, 588)).rotate(8))
        assert search.search(sample(), enlarged)[0].title == f"photo{number}"
    assert search.search(sample(), np.zeros((40, 40, 3), np.uint8)) == []
    assert search.search(sample(), photograph(99)) == []
