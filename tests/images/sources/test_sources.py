"""Slides and documents: the same zoom, part by part."""

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from deepeyes_env import Sample, VisualToolboxEnv
from deepeyes_env.data import JSONLDataset, ParquetDataset, write_jsonl, write_parquet
from deepeyes_env.envs.looking import look_at, look_on
from deepeyes_env.errors import ImageError
from deepeyes_env.images import ImageRef, ImageStore, ViewBudget
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ops import fit
from deepeyes_env.images.regions import Region
from deepeyes_env.images.sources import RegionSource, source_of
from deepeyes_env.images.sources.slides import Slide, is_large_tiled
from deepeyes_env.shown import shown_images
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from tests.pdf_files import pdf
from tests.slide_files import Level, jpeg_tile, levels_of, write_slide

PHOTO = np.asarray(PILImage.fromarray(skimage.data.astronaut()).resize((2000, 1500)))
MARKS = b"1 0 0 rg 100 600 50 30 re f 0 0 1 rg 300.25 300.25 1 1 re f"
BUDGET = ViewBudget(max_pixels=256 * 28 * 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write_slide(folder / "scan.svs", levels_of(PHOTO, 256), 256)
    (folder / "report.pdf").write_bytes(pdf(MARKS, (595.28, 841.89), pages=2))
    return folder


def apart(one, other):
    return np.abs(one.astype(int) - other).mean()


def painted(pixels, channel):
    """The box of what has one pure colour."""
    others = [each for each in range(3) if each != channel]
    rows, columns = np.where((pixels[:, :, channel] > 200) & (pixels[:, :, others].max(axis=2) < 60))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("budget", [BUDGET, ViewBudget()])
def test_views_and_parts_of_a_slide_are_those_of_the_same_pixels(folder, budget):
    store, slide, photo = ImageStore(), ImageRef.of(folder / "scan.svs"), ImageRef(PHOTO)
    assert slide.size == (2000, 1500)
    assert apart(store.view(slide, budget), store.view(photo, budget)) < 1.5
    for box in [(300, 200, 700, 500), (0, 0, 2000, 1500), (1999, 1499, 2000, 1500), (3, 5, 1900, 1400)]:
        part, own = store.part(slide, box, budget), store.part(photo, box, budget)
        size = budget.fit((box[2] - box[0], box[3] - box[1]))
        assert part.shape == (size[1], size[0], 3)
        assert not part.flags.writeable
        assert apart(part, fit(own, size)) < 3


def test_a_slide_without_small_levels_is_averaged_in_strips(tmp_path):
    write_slide(tmp_path / "flat.svs", levels_of(PHOTO, 256, steps=(1,)), 256)
    size = (200, 150)
    read = Slide(tmp_path / "flat.svs").read((0, 0, 2000, 1500), size)
    assert read.shape[1] < 1000
    assert apart(fit(read, size), fit(PHOTO, size)) < 1.5


def test_a_page_is_drawn_anew_for_every_part(folder):
    page = ImageRef.of(f"{folder}/report.pdf#page=2&dpi=288")  # four pixels to a point
    assert page.size == (2382, 3368)
    assert np.allclose(painted(page.pixels(), 0), (400, 847.56, 600, 967.56), atol=1.5)
    part = ImageStore().part(page, (1190, 2150, 1220, 2180), ViewBudget(min_pixels=560 * 560))
    assert part.shape == (560, 560, 3)
    scale = 560 / 30
    x1, y1, x2, _y2 = painted(part, 2)
    assert np.allclose((x1 / scale + 1190, y1 / scale + 2150, x2 / scale + 1190), (1201, 2162.56, 1205), atol=0.6)


def test_refs_are_named_by_content_and_pickled(folder, tmp_path):
    pages = [ImageRef.of(f"{folder}/report.pdf#page={number}") for number in (1, 2)]
    copy = tmp_path / "copy.pdf"
    copy.write_bytes((folder / "report.pdf").read_bytes())
    assert pages[0] != pages[1]
    assert ImageRef.of(f"{folder}/report.pdf") == pages[0] == ImageRef.of(copy)
    assert pickle.loads(pickle.dumps(pages[1])).size == pages[1].size


@pytest.mark.parametrize("name", ["report.pdf#page=2&dpi=288", "scan.svs"])
def test_an_episode_zooms_into_its_zoom_and_is_recorded(folder, tmp_path, monkeypatch, name):
    monkeypatch.setenv("DEEPEYES_IMAGE_ROOT", str(folder))
    sample = Sample(id="a", question="Where?", answer="here", images=[f"{folder}/{name}"])
    env = VisualToolboxEnv("VisualToolboxMiniO3-v0", [sample], view=BUDGET, rubric=None)
    env.reset(seed=0)
    outer, inner = Region(0, (400, 800, 1000, 1400)), Region(0, (420, 860, 620, 960))
    for region in (outer, inner):
        at = look_at(env.trajectory, region, digits=17) if region is outer else None
        call = at or look_on(env.trajectory, shown_images(env.trajectory)[1], (20, 60, 220, 160), digits=17)
        observation, *_, info = env.step(call)
        (result,) = info["calls"]
        assert result.ok, result.error
        assert np.allclose(result.look.box, region.box, atol=2)
        part = ImageStore().part(sample.images[0], tuple(map(int, result.look.box)), BUDGET)
        assert np.array_equal(observation["images"][0], part)
    with TrajectoryWriter(tmp_path / "run") as writer:
        writer.write(env.trajectory)
    (again,) = read_trajectories(tmp_path / "run")
    assert again == env.trajectory
    (image,) = again.sample.images
    assert np.array_equal(ImageStore().view(image, BUDGET), env.trajectory.prompt.images[0].pixels())
    monkeypatch.delenv("DEEPEYES_IMAGE_ROOT")
    (again,) = read_trajectories(tmp_path / "run")
    assert again.sample.images[0].size == sample.images[0].size
    with pytest.raises(ImageError, match="outside"):
        ImageStore().view(again.sample.images[0], BUDGET)


def test_questions_name_them_by_path(folder):
    samples = [
        Sample(id=str(number), question="What?", answer="a", images=[f"{folder}/{name}"])
        for number, name in enumerate(["report.pdf#page=2", "scan.svs"])
    ]
    write_jsonl(samples, folder / "rows.jsonl")
    write_parquet(samples, folder / "rows.parquet")
    assert json.loads((folder / "rows.jsonl").read_text().splitlines()[0])["images"] == ["report.pdf#page=2&dpi=144"]
    for data in (JSONLDataset(folder / "rows.jsonl"), ParquetDataset(folder / "rows.parquet")):
        assert [sample.images for sample in data] == [sample.images for sample in samples]
        assert all(isinstance(sample.images[0].source, RegionSource) for sample in data)


def test_a_name_may_not_lead_out_of_the_folder(folder, tmp_path):
    (tmp_path / "link.pdf").symlink_to(folder / "report.pdf")
    for name in (f"{folder}/report.pdf#page=2", "link.pdf#page=2"):
        with pytest.raises(ImageError, match="outside"):
            ImageFolder(tmp_path).image(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("report.pdf#page=3", "has no page 3; it has pages 1 to 2"),
        ("report.pdf#page=0", "has no page 0"),
        ("gone.pdf", "cannot be read"),
        ("gone.svs", "cannot be read"),
        ("noise.pdf", "noise.pdf: cannot be read"),
        ("noise.svs", "noise.svs: cannot be read"),
        ("empty.svs", "is empty"),
        ("tiles.svs", "has tiles of 8192 x 8192 pixels"),
    ],
)
def test_files_that_cannot_be_read_are_named(folder, name, said):
    (folder / "noise.pdf").write_bytes(b"%PDF-1.4\n" + np.random.default_rng(0).bytes(5000))
    (folder / "noise.svs").write_bytes(b"II*\0" + np.random.default_rng(0).bytes(5000))
    (folder / "empty.svs").touch()
    write_slide(folder / "tiles.svs", [Level((9000, 9000), lambda column, row: b"\xff\xd8\xff\xd9")], 8192)
    with pytest.raises(ImageError, match=said):
        _ = ImageRef.of(f"{folder}/{name}").size


@pytest.mark.parametrize("fragment", ["page=x", "pages=2", "page", "dpi=0", "page=1&dpi=100000"])
def test_a_fragment_that_says_nothing_is_refused(folder, fragment):
    with pytest.raises(ImageError, match="report.pdf"):
        ImageRef.of(f"{folder}/report.pdf#{fragment}")


def test_a_broken_tile_fails_alone(tmp_path):
    good = jpeg_tile(PHOTO[:256, :256])
    level = Level((1024, 256), lambda column, row: b"\xff\xd8\xff\xdb" + bytes(40) if column == 2 else good)
    write_slide(tmp_path / "broken.svs", [level], 256)
    store, ref = ImageStore(), ImageRef.of(tmp_path / "broken.svs")
    for _ in range(2):
        with pytest.raises(ImageError, match=r"broken\.svs: cannot be read"):
            store.part(ref, (500, 0, 800, 256), BUDGET)
        assert store.part(ref, (0, 0, 300, 200), BUDGET).any()


def test_a_broken_tile_fails_alone_among_threads(tmp_path):
    """They share a handle, and one that has failed once fails for good."""
    good = jpeg_tile(PHOTO[:256, :256])
    level = Level((512, 256), lambda column, row: good if column == 0 else b"\xff\xd8\xff\xe0")
    write_slide(tmp_path / "broken.svs", [level], 256)
    slide = Slide(tmp_path / "broken.svs")
    unexpected = []

    def look(damaged):
        for _ in range(60):
            try:
                assert slide.size == (512, 256)
                slide.read((300, 0, 500, 200) if damaged else (0, 0, 200, 200), (200, 200))
                failed = False
            except ImageError:
                failed = True
            if failed != damaged:
                unexpected.append(damaged)

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(look, number == 0) for number in range(4)]:
            future.result()
    assert not unexpected


def test_gigapixels_without_levels_are_recognised_and_read_in_parts(tmp_path):
    tile = jpeg_tile(PHOTO[:512, :512])
    path = tmp_path / "map.tif"
    write_slide(path, [Level((40_000, 30_000), lambda column, row: tile)], 512)
    assert is_large_tiled(path)
    assert isinstance(source_of(path), Slide)
    store, ref = ImageStore(), ImageRef.of(path)
    assert apart(store.part(ref, (512 * 50, 512 * 20, 512 * 51, 512 * 21), None), PHOTO[:512, :512]) < 1.5
    start = time.monotonic()
    with pytest.raises(ImageError, match="has no level that is small enough"):
        store.view(ref, BUDGET)
    with pytest.raises(ImageError, match="too many to be held at once"):
        ref.pixels()
    assert time.monotonic() - start < 30  # it refuses before it decodes a gigapixel
