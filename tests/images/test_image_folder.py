"""Names of images open regular files below a folder, and nothing else."""

import os
import pickle

import pytest

from deepeyes_env.errors import ImageError
from deepeyes_env.files import MAX_BYTES
from deepeyes_env.images.folder import IMAGE_ROOT, ImageFolder
from deepeyes_env.images.ref import ImageRef
from tests.images.image_files import PHOTO, encoded


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(PHOTO[:8, :8]))
    return path


@pytest.fixture
def folder(tmp_path, secret):
    folder = tmp_path / "set"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "a.png").write_bytes(secret.read_bytes())
    (folder / "link.png").symlink_to(secret)
    (folder / "near.png").symlink_to("inside/a.png")
    (folder / "up").symlink_to(folder.parent)
    return folder


@pytest.mark.parametrize("name", ["inside/a.png", "inside/../inside/a.png", "near.png"])
def test_names_below_the_folder_are_opened(folder, name):
    assert ImageFolder(folder).image(name).size == (8, 8)
    assert pickle.loads(pickle.dumps(ImageFolder(folder))).image(name).size == (8, 8)


@pytest.mark.parametrize(
    "name", ["../secret.png", "link.png", "up/secret.png", "{secret}", "../set2/x.png", "/etc/passwd"]
)
def test_names_that_lead_out_of_the_folder_are_refused(folder, secret, name):
    with pytest.raises(
        ImageError, match=r"lies outside of .*set, the folder .* --image-root DIR, or DEEPEYES_IMAGE_ROOT"
    ):
        ImageFolder(folder).image(name.format(secret=secret))


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_another_folder_is_allowed_on_request(folder, secret, monkeypatch, by):
    if by == "environment":
        monkeypatch.setenv(IMAGE_ROOT, str(folder.parent))
    images = ImageFolder(folder, folder.parent if by == "argument" else None)
    for name in ("../secret.png", "link.png", str(secret), "inside/a.png"):
        assert images.image(name).size == (8, 8)
    with pytest.raises(ImageError, match="lies outside"):
        images.image("/etc/passwd")


def test_links_of_a_hugging_face_cache_are_followed(tmp_path, secret):
    blob = tmp_path / "datasets--a--b" / "blobs" / "0123"
    snapshot = tmp_path / "datasets--a--b" / "snapshots" / "main" / "images"
    for made in (blob.parent, snapshot):
        made.mkdir(parents=True)
    blob.write_bytes(secret.read_bytes())
    (snapshot / "a.png").symlink_to("../../../blobs/0123")
    (snapshot / "b.png").symlink_to(secret)
    assert ImageFolder(snapshot.parent).image("images/a.png").size == (8, 8)
    with pytest.raises(ImageError, match="lies outside"):
        ImageFolder(snapshot.parent).image("images/b.png")


def test_a_pipe_does_not_hang_and_a_device_fills_no_memory(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(ImageError, match=r"cannot be read \(it is no regular file\)"):
            ImageRef.of(path).pixels()


def test_a_file_of_gigabytes_is_refused(tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="it is larger than 1024 MiB"):
        ImageRef.of(tmp_path / "large.png").encoded()


@pytest.mark.parametrize(
    "data", [b"s3cret", b"P6 s3cret s3cret 255\n", b"P6 1234567890s3cret 9", b"P5s3cret", b"BMs3cret"]
)
def test_errors_quote_no_byte_of_a_file(tmp_path, data):
    (tmp_path / "private").write_bytes(data * 3)
    with pytest.raises(ImageError) as caught:
        ImageRef.of(tmp_path / "private").pixels()
    assert "s3c" not in str(caught.value)
