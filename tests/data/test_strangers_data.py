"""Data sets from strangers: no name in them opens a file outside of their folder."""

import json
import os

import pytest

from deepeyes_env import Sample
from deepeyes_env.data import load
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.data.visual_search.backgrounds import find_photos
from deepeyes_env.data.vstar import write_vstar
from deepeyes_env.errors import DataError, RowError
from deepeyes_env.images.folder import IMAGE_ROOT
from tests.images.image_files import PHOTO, encoded

IMAGE = encoded(PHOTO[:8, :8])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(IMAGE)
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


def jsonl(folder, name):
    path = folder / "set.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "a", "images": name}) + "\n")
    return path


def parquet(folder, name):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {
        "prompt": [{"role": "user", "content": "q"}],
        "images": [{"bytes": None, "path": name}],
        "reward_model": {"ground_truth": "a"},
        "extra_info": {"question": "q", "answer": "a"},
    }
    images = pyarrow.list_(pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    table = pyarrow.Table.from_pylist([row])
    column = table.schema.get_field_index("images")
    table = table.set_column(column, "images", pyarrow.array([row["images"]], images))
    parquet.write_table(table, folder / "set.parquet")
    return folder / "set.parquet"


@pytest.mark.parametrize("written", [jsonl, parquet])
@pytest.mark.parametrize("name", ["../secret.png", "{folder}/../secret.png", "link.png"])
def test_a_row_names_no_file_outside(folder, written, name, monkeypatch):
    (folder / "link.png").symlink_to("../secret.png")
    path = written(folder, name.format(folder=folder))
    with pytest.raises(RowError, match=r"row 0: image .* lies outside of .*--image-root"):
        load(path)[0]
    assert load(path, image_root=folder.parent)[0].images[0].size == (8, 8)
    monkeypatch.setenv(IMAGE_ROOT, str(folder.parent))
    assert load(path)[0].images[0].size == (8, 8)


@pytest.mark.parametrize("written", [jsonl, parquet])
def test_a_pipe_or_a_device_is_a_bad_row(folder, written):
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(RowError, match=r"pipe\.png: cannot be read \(it is no regular file\)"):
        load(written(folder, "pipe.png"))[0]
    with pytest.raises(RowError, match="it is no regular file"):
        load(written(folder, "/dev/zero"), image_root="/dev")[0]


@pytest.mark.parametrize("suffix", ["json", "png"])
def test_links_of_a_v_star_folder_lead_nowhere_else(folder, suffix):
    write_vstar([Sample("a", "q", "x", IMAGE, options=("x", "y"), metadata={"category": "direct_attributes"})], folder)
    file = next((folder / "direct_attributes").glob(f"*.{suffix}"))
    file.rename(folder.parent / file.name)
    file.symlink_to(folder.parent / file.name)
    with pytest.raises(RowError, match="lies outside"):
        load(folder)[0]
    assert load(folder, image_root=folder.parent)[0].answer == "x"


def test_a_benchmark_looks_for_images_only_where_it_says(folder):
    path = folder / "coco_pope_random.json"
    for name in (str(folder.parent / "secret.png"), "link/secret.png"):
        path.write_text(json.dumps({"question_id": 1, "image": name, "text": "Is it?", "label": "yes"}) + "\n")
        (folder / "images").mkdir(exist_ok=True)
        if not (folder / "link").exists():
            (folder / "link").symlink_to("/etc")
        (folder / "secret.png").unlink(missing_ok=True)
        (folder / "secret.png").symlink_to("/etc/hostname")
        with pytest.raises(DataError, match="there is no image"):
            open_benchmark("pope", path)[1][0]


def test_photographs_behind_links_that_lead_out_are_left_out(folder):
    (folder / "mine.png").write_bytes(IMAGE)
    (folder / "link.png").symlink_to("../secret.png")
    os.mkfifo(folder / "pipe.png")
    assert [path.name for path in find_photos(folder)] == ["mine.png"]
