import hashlib
import io
import pickle

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from deepeyes_env.errors import ImageError
from deepeyes_env.images import ImageRef, Renderable, codec

PHOTO = skimage.data.astronaut()[100:240, 150:350]  # 140 x 200
PNG = codec.encode(PHOTO)


class Drawing:
    """A recipe in a module, so that it can be pickled."""

    def __init__(self, level):
        self.level = level

    @property
    def key(self):
        return f"level {self.level}"

    @property
    def size(self):
        return (12, 9)

    def render(self):
        return np.full((9, 12, 3), self.level, np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda path: PNG,
        lambda path: bytearray(PNG),
        lambda path: path,
        lambda path: str(path),
        lambda path: PILImage.open(path),
        lambda path: PILImage.open(io.BytesIO(PNG)).convert("RGBA"),
        lambda path: PHOTO,
        lambda path: ImageRef(PNG),
    ],
    ids=["bytes", "bytearray", "Path", "str", "PIL", "PIL RGBA", "array", "ImageRef"],
)
def test_of_takes_whatever_holds_an_image(make, path):
    ref = ImageRef.of(make(path))
    assert isinstance(ref, ImageRef)
    assert np.array_equal(ref.pixels(), PHOTO)
    assert ref.size == (200, 140)
    assert not ref.pixels().flags.writeable


def test_of_takes_recipes():
    assert isinstance(Drawing(3), Renderable)
    ref = ImageRef.of(Drawing(3))
    assert (ref.pixels() == 3).all()
    assert not ref.pixels().flags.writeable
    assert ref.size == (12, 9)
    assert not ref.is_encoded


def test_of_returns_a_ref_as_it_is():
    ref = ImageRef(PNG)
    assert ImageRef.of(ref, name="other") is ref


@pytest.mark.parametrize("image", [None, 17, 1.5, [PNG], {"bytes": PNG}, object()])
def test_of_refuses_the_rest(image):
    with pytest.raises(TypeError, match="pass encoded bytes, a path"):
        ImageRef.of(image)


def test_of_refuses_arrays_that_are_no_images():
    with pytest.raises(ValueError, match=r"\(3, 5, 5\), dtype float64"):
        ImageRef.of(np.zeros((3, 5, 5)))


def test_writable_arrays_and_bytes_are_copied():
    array, data = PHOTO.copy(), bytearray(PNG)
    from_array, from_bytes = ImageRef.of(array), ImageRef.of(data)
    digests = from_array.digest, from_bytes.digest
    array[:] = 0
    data[:] = b"\x00" * len(data)
    assert np.array_equal(from_array.pixels(), PHOTO)
    assert np.array_equal(from_bytes.pixels(), PHOTO)
    assert digests == (ImageRef.of(PHOTO).digest, ImageRef.of(PNG).digest)


def test_read_only_arrays_are_shared():
    array = PHOTO.copy()
    array.flags.writeable = False
    assert ImageRef.of(array).pixels() is array


def test_digests():
    assert ImageRef(PNG).digest == hashlib.sha256(PNG).hexdigest()
    array = PHOTO.copy()
    assert ImageRef(array).digest == ImageRef(np.asfortranarray(array)).digest
    assert ImageRef(array).digest != ImageRef(array.reshape(70, 400, 3)).digest
    assert ImageRef(array[10:20, 30:50]).digest == ImageRef(array[10:20, 30:50].copy()).digest
    assert ImageRef(PNG, digest="abc").digest == "abc"


def test_equality_is_by_content(path):
    same = [ImageRef(PNG), ImageRef(bytes(PNG), name="n"), ImageRef(path)]
    assert len(set(same)) == 1
    assert same[0] == same[2]
    other = ImageRef(codec.encode(PHOTO[::-1]))
    assert same[0] != other
    assert same[0] != "photo"
    assert ImageRef(Drawing(1)) == ImageRef(Drawing(1))
    assert ImageRef(Drawing(1)) != ImageRef(Drawing(2))


@pytest.mark.parametrize("looked_at", [False, True])
def test_pickling(path, looked_at):
    for source in (PNG, path, ImageRef.of(PHOTO).source, Drawing(5)):
        ref = ImageRef(source, name="seven")
        if looked_at:
            assert ref.digest
            assert ref.size
        back = pickle.loads(pickle.dumps(ref))
        assert back == ref
        assert back.name == "seven"
        assert back.size == ref.size
        assert np.array_equal(back.pixels(), ref.pixels())


def test_making_a_ref_reads_nothing(tmp_path):
    ref = ImageRef.of(tmp_path / "missing.png")
    assert "missing.png" in repr(ref)


@pytest.mark.parametrize(
    "use", [ImageRef.pixels, ImageRef.encoded, ImageRef.loaded, lambda ref: ref.size, lambda ref: ref.digest]
)
def test_a_missing_file_names_itself(tmp_path, use):
    with pytest.raises(ImageError, match=r"missing\.png: cannot be read \(No such file"):
        use(ImageRef.of(str(tmp_path / "missing.png")))


def test_a_directory_is_not_an_image(tmp_path):
    with pytest.raises(ImageError, match="Is a directory"):
        ImageRef.of(tmp_path).pixels()


def test_errors_name_the_image():
    ref = ImageRef.of(b"nonsense", name="of sample 's1'")
    for use in (ImageRef.pixels, lambda ref: ref.size):
        with pytest.raises(ImageError, match=r"image of sample 's1': is not an image"):
            use(ref)


def test_encoded_bytes(path):
    assert ImageRef(PNG).encoded() is PNG
    assert ImageRef(path).encoded() == PNG
    assert ImageRef(PNG).is_encoded
    assert ImageRef(path).is_encoded
    with pytest.raises(TypeError, match="no encoded bytes"):
        ImageRef.of(PHOTO).encoded()


def test_loaded_reads_a_file_once_and_then_needs_it_no_more(path):
    ref = ImageRef(path, name="seven")
    loaded = ref.loaded()
    path.unlink()
    assert (loaded.source, loaded.name, loaded.size) == (PNG, "seven", (200, 140))
    assert loaded == ref
    assert ref.loaded() is ref
    assert (ref.size, ref.digest) == (loaded.size, loaded.digest)


def test_loaded_is_the_ref_itself_where_there_is_no_file():
    for source in (PNG, PHOTO, Drawing(1)):
        ref = ImageRef(source)
        assert ref.loaded() is ref


def test_size_comes_from_the_header(monkeypatch):
    monkeypatch.setattr(codec, "decode", lambda *args, **kwargs: pytest.fail("decoded"))
    assert ImageRef(PNG).size == (200, 140)


def test_a_file_that_changes_after_it_was_read_is_refused(path):
    """Its new pixels would otherwise be shared, and recorded, under the digest of the old ones."""
    ref = ImageRef(path)
    assert ref.digest
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ImageError, match=r"has changed since it was read"):
        ref.encoded()
    with pytest.raises(ImageError, match=r"has changed since it was read"):
        ref.pixels()
    assert ImageRef(path).encoded().endswith(b"\0")
