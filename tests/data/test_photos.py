"""Real photographs: as backgrounds of scenes, and as a parquet data set with planted objects."""

import io
import pickle
import shutil
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import skimage.data
from PIL import Image, JpegImagePlugin

from deepeyes_env.data import load
from deepeyes_env.data.photos import plant
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.data.visual_search.backgrounds import find_photos
from deepeyes_env.errors import DataError, ImageError, UsageError
from deepeyes_env.images import ViewBudget

VIEW = ViewBudget(min_pixels=112 * 112, max_pixels=112 * 112)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    (path / "animals").mkdir()
    Image.fromarray(skimage.data.astronaut()).save(path / "astronaut.jpg", quality=95)
    Image.fromarray(skimage.data.chelsea()).save(path / "animals" / "cat.png")
    Image.fromarray(skimage.data.rocket()).save(path / "rocket.webp", lossless=True)
    return path


@pytest.fixture(scope="module")
def planted(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("planted") / "photos.parquet"
    assert plant(folder, out, samples_per_photo=6, view=VIEW, objects=(2, 3)) == 18
    return load(out)


def fitted(pixels):
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(VIEW.fit(image.size), Image.Resampling.BICUBIC)).astype(int)


def cropped(pixels, box):
    x1, y1, x2, y2 = map(int, box)
    return pixels[y1:y2, x1:x2]


def jpeg(pixels, quality=92):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality, subsampling="4:4:4")
    return np.asarray(Image.open(data))


def answers(sample, noise):
    """The sample's scene with each option in turn as the right answer, as it is after JPEG, with noise of its own."""
    scene = sample.images[0].source
    target = next(index for index, item in enumerate(scene.items) if item.box == sample.boxes[0])
    for option in sample.options:
        mark = replace(scene.items[target].mark, value=option)
        items = (*scene.items[:target], replace(scene.items[target], mark=mark), *scene.items[target + 1 :])
        yield option, jpeg(replace(scene, items=items, seed=noise).render())


def test_planted_rows(planted):
    assert len(planted) == 18
    assert Counter(sample.id.rsplit("/", 1)[0] for sample in planted) == {
        "animals/cat.png": 6,
        "astronaut.jpg": 6,
        "rocket.webp": 6,
    }
    for sample in planted:
        assert sample.answer in sample.options
        assert sample.data_source == "visual_search"
        assert len(sample.boxes) == (2 if sample.metadata["task"] == "position" else 1)
        width, height = sample.images[0].size
        assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in sample.boxes)
        assert sample.metadata["view"] == list(VIEW.fit((width, height)))


def test_photos_keep_their_size(planted):
    sizes = {sample.id.split("/")[0]: sample.images[0].size for sample in planted}
    assert sizes == {"astronaut.jpg": (512, 512), "animals": (451, 300), "rocket.webp": (640, 427)}


def test_most_of_a_photo_is_left_alone(planted):
    photo = skimage.data.astronaut().astype(int)
    sample = next(sample for sample in planted if sample.id.startswith("astronaut"))
    changed = np.abs(sample.images[0].pixels() - photo).max(axis=-1) > 40
    for x1, y1, x2, y2 in sample.metadata["objects"].values():
        assert changed[y1:y2, x1:x2].any()
        changed[y1 - 8 : y2 + 8, x1 - 8 : x2 + 8] = False
    assert changed.mean() < 0.002


def test_images_are_jpeg_with_full_colour_resolution(planted):
    image = Image.open(io.BytesIO(planted[0].images[0].encoded()))
    assert image.format == "JPEG"
    assert JpegImagePlugin.get_sampling(image) == 0


@pytest.mark.parametrize("task", ["attribute", "count", "text"])
def test_details_stay_hidden_and_readable_in_jpeg(folder, task):
    data = VisualSearch(size=(512, 512), view=VIEW, tasks=(task,), easy=0, objects=(1, 2), backgrounds=folder)
    for sample in islice(data, 3):
        drawn, templates = dict(answers(sample, noise=1)), dict(answers(sample, noise=2))
        truth = drawn[sample.answer]
        for option in set(sample.options) - {sample.answer}:
            difference = np.abs(fitted(drawn[option]) - fitted(truth))
            assert difference.max() <= 6
            assert cropped(difference, [edge * 112 / 512 for edge in sample.boxes[0]]).mean() < 1
        shown = fitted(cropped(truth, sample.boxes[0]))
        errors = {o: np.sum((fitted(cropped(t, sample.boxes[0])) - shown) ** 2) for o, t in templates.items()}
        assert min(errors, key=errors.get) == sample.answer


def test_planting_is_reproducible_and_its_splits_differ(folder, tmp_path):
    for name, settings in {"a": {}, "b": {}, "c": {"split": "test"}, "d": {"seed": 1}}.items():
        plant(folder, tmp_path / name, samples_per_photo=1, view=VIEW, objects=(2, 2), **settings)
    questions = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert questions["a"] == questions["b"]
    assert len(set(questions.values())) == 3


def test_small_photos_are_enlarged_until_details_can_hide(folder, tmp_path):
    view = ViewBudget(max_pixels=336 * 336)
    plant(folder / "astronaut.jpg", tmp_path / "out.parquet", samples_per_photo=1, view=view)
    assert load(tmp_path / "out.parquet")[0].images[0].size == (840, 840)


def test_max_side_scales_large_photos_down(folder, tmp_path):
    plant(
        folder / "rocket.webp", tmp_path / "out.parquet", samples_per_photo=1, view=VIEW, objects=(2, 2), max_side=480
    )
    assert load(tmp_path / "out.parquet")[0].images[0].size == (480, 321)


def test_unreadable_files_are_reported_and_skipped(folder, tmp_path, caplog):
    photos = tmp_path / "mixed"
    shutil.copytree(folder, photos)
    (photos / "notes.xml").write_text("<notes/>")
    (photos / "torn.jpg").write_bytes((folder / "astronaut.jpg").read_bytes()[:9000])
    assert plant(photos, tmp_path / "out.parquet", samples_per_photo=1, view=VIEW, objects=(2, 2)) == 3
    assert "notes.xml" in caplog.text
    assert "torn.jpg" in caplog.text


def test_a_name_that_is_no_text_is_reported_and_skipped(folder, tmp_path, caplog):
    photo = next(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    (tmp_path / "photos").mkdir()
    try:
        shutil.copy(photo, tmp_path / "photos" / "caf\udce9.jpg")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(UsageError, match="holds no readable photo"):
        find_photos(tmp_path / "photos")
    assert "its name is not UTF-8" in caplog.text


def test_a_folder_without_photos_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=str(folder)):
            plant(folder, tmp_path / "out.parquet")
        with pytest.raises(ValueError, match=str(folder)):
            VisualSearch(backgrounds=folder)


def test_nothing_is_written_when_no_photo_can_be_used(folder, tmp_path):
    torn = tmp_path / "torn.jpg"
    torn.write_bytes((folder / "astronaut.jpg").read_bytes()[:9000])
    with pytest.raises(DataError, match=r"none of 1 photos can be used.*torn\.jpg"):
        plant(torn, tmp_path / "out.parquet", view=VIEW)
    assert [path.name for path in tmp_path.iterdir()] == ["torn.jpg"]
    with pytest.raises(ValueError, match="samples_per_photo=0"):
        plant(folder, tmp_path / "out.parquet", samples_per_photo=0)


def test_scenes_on_photos(folder, tmp_path):
    settings = {"size": (448, 300), "view": VIEW, "objects": (2, 3)}
    data = VisualSearch(backgrounds=folder, **settings)
    samples = list(islice(data, 12))
    assert {sample.images[0].source.background.name for sample in samples} == {
        "astronaut.jpg",
        "cat.png",
        "rocket.webp",
    }
    assert samples == list(islice(pickle.loads(pickle.dumps(data)), 12))
    assert all(sample.images[0].pixels().shape == (300, 448, 3) for sample in samples)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert VisualSearch(backgrounds=moved, **settings)[0].images[0].digest == samples[0].images[0].digest


def test_a_background_covers_the_scene_without_stretching(tmp_path):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (100, 256, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    data = VisualSearch(size=(300, 300), view=VIEW, objects=(2, 2), object_side=(20, 21), backgrounds=tmp_path)
    starts = set()
    for sample in islice(data, 5):
        rows = sample.images[0].pixels()[..., 0].astype(int)
        steps = np.diff(np.median(rows, axis=0))
        assert steps.mean() == pytest.approx(1 / 3, abs=0.03)
        starts.add(rows[:, 0].min())
    assert len(starts) > 3


def test_photos_are_turned_upright(tmp_path):
    photo = Image.fromarray(skimage.data.rocket())
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    plant(tmp_path, tmp_path / "out.parquet", samples_per_photo=1, view=VIEW, objects=(2, 2))
    image = load(tmp_path / "out.parquet")[0].images[0]
    assert image.size == (427, 640)
    upright = np.rot90(skimage.data.rocket(), -1).astype(int)
    assert np.median(np.abs(image.pixels() - upright)) < 6


def test_a_photo_that_went_away_is_named(folder, tmp_path):
    photo = shutil.copy(folder / "rocket.webp", tmp_path / "gone.webp")
    sample = VisualSearch(size=(448, 448), view=VIEW, objects=(2, 3), backgrounds=tmp_path)[0]
    photo.unlink()
    with pytest.raises(ImageError, match=r"gone\.webp"):
        sample.images[0].pixels()
