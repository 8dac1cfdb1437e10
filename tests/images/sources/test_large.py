"""Very large JPEG and PNG files: the pixels of ``decode``, from tiles that are written once."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from deepeyes_env import ImageRef, Sample, ViewBudget, VisualToolboxEnv
from deepeyes_env.errors import ImageError, MissingExtraError, UsageError
from deepeyes_env.images import ImageStore
from deepeyes_env.images.codec import MAX_PIXELS, decode
from deepeyes_env.images.ops import crop, fit
from deepeyes_env.images.sources import large, tile_cache
from deepeyes_env.images.sources.large import LargeImage
from deepeyes_env.images.sources.named import source_of

PHOTO = PILImage.fromarray(skimage.data.astronaut()).resize((1301, 1100))
BUDGET = ViewBudget(max_pixels=256 * 28 * 28)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder for the tiles, and libvips to write them."""
    pytest.importorskip("pyvips", reason="pyvips (extra large) is not installed")
    monkeypatch.setenv(tile_cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiles"


@pytest.fixture
def uncut(monkeypatch):
    """Refuse to write tiles."""

    def refuse(*_):
        raise AssertionError("tiles are written again")

    return lambda: monkeypatch.setattr(tile_cache, "SideProcess", refuse)


def saved(folder, name="a.jpg", image=PHOTO, **options):
    image.save(folder / name, **options)
    return LargeImage(folder / name)


def alpha():
    image = PHOTO.convert("RGBA")
    image.putalpha(PILImage.fromarray(np.where(np.asarray(PHOTO)[:, :, 0] > 99, 255, 0).astype(np.uint8)))
    return image


KINDS = {
    "baseline.jpg": (PHOTO, {"quality": 90}),
    "fine.jpg": (PHOTO, {"quality": 95, "subsampling": "4:4:4"}),
    "grey.jpg": (PHOTO.convert("L"), {}),
    "rgb.png": (PHOTO, {"compress_level": 1}),
    "grey.png": (PHOTO.convert("L"), {"compress_level": 1}),
    "palette.png": (PHOTO.quantize(50), {"compress_level": 1}),
    "bits.png": (PHOTO.convert("1"), {"compress_level": 1}),
    "alpha.png": (alpha(), {"compress_level": 1}),
    "deep.png": (PILImage.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 250), {"compress_level": 1}),
}


@pytest.mark.parametrize("name", KINDS)
def test_parts_are_those_of_the_decoded_image_to_the_bit(tmp_path, name):
    source = saved(tmp_path, name, KINDS[name][0], **KINDS[name][1])
    whole = decode(source.path.read_bytes())
    assert source.size == PHOTO.size
    for box in [(0, 0, *PHOTO.size), (500, 400, 1040, 1040), (1300, 1099, 1301, 1100)]:
        part = source.read(box, (box[2] - box[0], box[3] - box[1]))
        assert not part.flags.writeable
        assert np.array_equal(part, crop(whole, box))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_partly_transparent_pixels_are_within_one_level(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, len(mode)), np.uint8)
    source = saved(tmp_path, "a.png", PILImage.fromarray(pixels))
    part = source.read((0, 0, 300, 300), (300, 300))
    assert np.abs(part.astype(int) - decode(source.path.read_bytes())).max() <= 1


@pytest.mark.parametrize("name", ["baseline.jpg", "rgb.png"])
def test_the_view_comes_from_a_small_level(tmp_path, name):
    source = saved(tmp_path, name, KINDS[name][0], **KINDS[name][1])
    size = BUDGET.fit(PHOTO.size)
    assert source.read((0, 0, *PHOTO.size), size).shape == (550, 650, 3)
    view = ImageStore().view(ImageRef(source), BUDGET)
    assert np.abs(view.astype(int) - fit(decode(source.path.read_bytes()), size)).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_parts_are_turned_as_the_decoded_image_is(tmp_path, orientation):
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    source = saved(tmp_path, exif=exif)
    whole = decode(source.path.read_bytes())
    assert source.size == (whole.shape[1], whole.shape[0])
    box = (300, 200, 790, 530)
    assert np.array_equal(source.read(box, (490, 330)), crop(whole, box))


def test_only_images_beyond_the_limit_go_this_way(tmp_path, monkeypatch):
    for name in ("a.jpg", "a.png", "a.webp"):
        path = saved(tmp_path, name).path
        monkeypatch.setattr(large, "MAX_PIXELS", MAX_PIXELS)
        assert source_of(path) == path
        monkeypatch.setattr(large, "MAX_PIXELS", 10**6)
        assert source_of(path) == (path if name == "a.webp" else LargeImage(path))
    assert source_of(tmp_path / "gone.jpg") == tmp_path / "gone.jpg"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.jpg", "pipe.png", "pipe.tif"])
def test_what_is_no_file_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert source_of(tmp_path / name) == tmp_path / name


def test_a_second_opener_uses_the_tiles_of_the_first(tmp_path, cache, uncut):
    first = saved(tmp_path)
    expected = first.read((0, 0, 300, 300), (300, 300))
    (tiles,) = cache.glob("*.tif")
    uncut()
    copy = LargeImage(tmp_path / "copy.jpg")
    copy.path.write_bytes(first.path.read_bytes())
    assert copy.key == first.key
    assert np.array_equal(copy.read((0, 0, 300, 300), (300, 300)), expected)
    assert list(cache.glob("*.tif")) == [tiles]


def _read(path):
    return LargeImage(path).read((0, 0, 300, 300), (300, 300))


@pytest.mark.integration
def test_threads_and_processes_write_one_file(tmp_path, cache):
    path = saved(tmp_path).path
    expected = crop(decode(path.read_bytes()), (0, 0, 300, 300))
    with ProcessPoolExecutor(2, get_context("spawn")) as processes, ThreadPoolExecutor(4) as threads:
        found = [*processes.map(_read, [path] * 4), *threads.map(_read, [path] * 8)]
    assert all(np.array_equal(each, expected) for each in found)
    assert sorted(each.suffix for each in cache.iterdir()) == ["", ".tif"]  # and the lock


def test_tiles_that_are_gone_or_damaged_are_written_anew(tmp_path, cache):
    source = saved(tmp_path)
    expected = source.read((0, 0, 300, 300), (300, 300))
    (tiles,) = cache.glob("*.tif")
    tiles.unlink()
    assert np.array_equal(source.read((0, 0, 300, 300), (300, 300)), expected)
    tiles.write_bytes(tiles.read_bytes()[:20_000])
    assert np.array_equal(source.read((0, 0, 300, 300), (300, 300)), expected)


def test_the_folder_stays_within_its_limit(tmp_path, cache, monkeypatch):
    sources = [saved(tmp_path, f"{n}.jpg", PHOTO.rotate(n)) for n in range(3)]
    sources[0].read((0, 0, 9, 9), (9, 9))
    (oldest,) = cache.glob("*.tif")
    monkeypatch.setenv(tile_cache.GIGABYTES, str(oldest.stat().st_size * 2.5 / 1e9))
    sources[1].read((0, 0, 9, 9), (9, 9))
    (other,) = set(cache.glob("*.tif")) - {oldest}
    sources[0].read((0, 0, 9, 9), (9, 9))  # now it is the other one that was used longest ago
    sources[2].read((0, 0, 9, 9), (9, 9))
    left = set(cache.glob("*.tif"))
    assert oldest in left
    assert other not in left
    assert len(left) == 2


def test_an_image_that_is_larger_than_the_folder_may_be_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setenv(tile_cache.GIGABYTES, "0.001")
    with pytest.raises(ImageError, match=r"a\.jpg: its tiles take more than 0\.001 GB; let DEEPEYES_CACHE_GB be more"):
        saved(tmp_path).read((0, 0, 9, 9), (9, 9))
    assert [each.name for each in cache.iterdir()] == ["lock"]
    monkeypatch.setenv(tile_cache.GIGABYTES, "much")
    with pytest.raises(UsageError, match="DEEPEYES_CACHE_GB='much'"):
        saved(tmp_path).read((0, 0, 9, 9), (9, 9))


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "noise.png"])
def test_a_truncated_or_damaged_file_is_named_and_leaves_nothing(tmp_path, cache, name):
    source = saved(tmp_path, name)
    data = source.path.read_bytes()
    half = len(data) // 2
    source.path.write_bytes(data[:half] if name.startswith("cut") else data[:half] + os.urandom(half))
    with pytest.raises(ImageError, match=rf"{name}: cannot be cut into tiles \(.*; fetch or write it again"):
        source.read((0, 0, 9, 9), (9, 9))
    assert [each.name for each in cache.iterdir()] == ["lock"]


def png(width, height, interlaced=0, rows=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(100_000, 100_000), "declares 100000 x 100000 pixels, more than the limit of 4294967296"),
        (png(30_000, 30_000), "declares 30000 x 30000 pixels, more than its 65 bytes can hold"),
        (png(1000, 1000, interlaced=1, rows=bytes(2**20)), "is interlaced, so all of its 1000 x 1000 pixels"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read"),
    ],
)
def test_bombs_are_refused_by_their_header(tmp_path, data, said):
    (tmp_path / "a.png").write_bytes(data)
    for ask in (lambda source: source.size, lambda source: source.read((0, 0, 9, 9), (9, 9))):
        with pytest.raises(ImageError, match=rf"a\.png: {said}"):
            ask(LargeImage(tmp_path / "a.png"))


def test_a_progressive_jpeg_and_cmyk_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.jpg: is progressive, so all of its 1301 x 1100 pixels"):
        _ = saved(tmp_path, progressive=True).size
    with pytest.raises(ImageError, match="in CMYK; write it again in RGB"):
        _ = saved(tmp_path, image=PHOTO.convert("CMYK")).size


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [("MAX_SECONDS", 0.001, "takes more than 0.001 s"), ("MAX_MEMORY", 2**25, "cut into tiles")],
)
def test_what_takes_too_much_is_given_up(tmp_path, cache, monkeypatch, limit, value, said):
    monkeypatch.setattr(tile_cache, limit, value)
    with pytest.raises(ImageError, match=said):
        saved(tmp_path).read((0, 0, 9, 9), (9, 9))
    assert [each.name for each in cache.iterdir()] == ["lock"]


def test_an_episode_zooms_into_one(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "MAX_PIXELS", 10**6)
    path = saved(tmp_path, quality=90).path
    env = VisualToolboxEnv("VisualToolbox-v2", [Sample("a", "?", "b", path)], view=BUDGET, rubric=None)
    observation, _ = env.reset(seed=0)
    width, height = BUDGET.fit(PHOTO.size)
    assert observation["images"][0].shape == (height, width, 3)
    zoom = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 100, 100]}}</tool_call>'
    observation, *_, info = env.step(zoom)
    (result,) = info["calls"]
    part = crop(decode(path.read_bytes()), tuple(map(int, result.look.box)))
    assert np.array_equal(observation["images"][0], fit(part, BUDGET.fit((part.shape[1], part.shape[0]))))


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tile_cache, "require_extra", lambda *_: (_ for _ in ()).throw(MissingExtraError("pyvips")))
    with pytest.raises(MissingExtraError):
        saved(tmp_path).read((0, 0, 9, 9), (9, 9))
