import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
import skimage.data
from PIL import Image as PILImage
from PIL import ImageOps

from deepeyes_env.errors import ImageError
from deepeyes_env.images import codec

PHOTO = skimage.data.chelsea()  # 300 x 451
GREY = np.add.outer(np.arange(20), np.arange(30) * 8).astype(np.uint8)
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, PILImage.Image) else PILImage.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_orientation(image, orientation, format):
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    return encoded(image, format, exif=exif, **options)


def png_chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_header(width, height, depth=8, colour=2):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(samples, depth, colour, *chunks):
    """A PNG written by hand, for kinds that Pillow cannot write."""
    rows = b"".join(b"\x00" + row.astype(f">u{depth // 8}").tobytes() for row in samples)
    idat = png_chunk(b"IDAT", zlib.compress(rows))
    head = png_header(samples.shape[1], samples.shape[0], depth, colour)
    return head + b"".join(chunks) + idat + png_chunk(b"IEND", b"")


def assert_rgb(pixels, height, width):
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_unchanged(format):
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(PHOTO, format, **options)
    pixels = codec.decode(data)
    assert_rgb(pixels, 300, 451)
    assert np.array_equal(pixels, PHOTO)
    assert codec.read_size(data) == (451, 300)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, format):
    """The stored image is what a camera held that way writes; decoded, red is top left and blue top right."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = COLOURS[0], COLOURS[2], COLOURS[1]
    # For orientation n: which way from upright to stored, per the EXIF standard's "row 0 is ..., column 0 is ...".
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    data = with_orientation(stored, orientation, format)
    pixels = codec.decode(data)
    assert_rgb(pixels, 32, 64)
    assert codec.read_size(data) == (64, 32)
    tolerance = 0 if format in ("PNG", "TIFF") else 60
    assert np.abs(pixels[4:-4:8, 4:-4:8].astype(int) - upright[4:-4:8, 4:-4:8]).max() <= tolerance
    assert np.array_equal(codec.to_rgb_array(PILImage.open(io.BytesIO(data))), pixels)


def test_exif_behind_the_pixels_of_a_png():
    exif = PILImage.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO)
    data = data[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[-12:]
    assert codec.read_size(data) == (300, 451)
    assert np.array_equal(codec.decode(data), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_nonsense_orientation_is_ignored(orientation):
    data = with_orientation(PHOTO, orientation, "PNG")
    assert np.array_equal(codec.decode(data), PHOTO)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored():
    data = encoded(PHOTO, "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff garbage")
    assert codec.read_size(data) == (451, 300)
    assert codec.decode(data).shape == (300, 451, 3)


def test_an_image_in_memory_is_taken_as_it_is():
    opened = PILImage.open(io.BytesIO(with_orientation(PHOTO, 6, "PNG")))
    assert codec.to_rgb_array(opened).shape == (451, 300, 3)
    assert codec.to_rgb_array(ImageOps.exif_transpose(opened)).shape == (451, 300, 3)
    assert np.array_equal(codec.to_rgb_array(opened.copy()), PHOTO)


def palette_image():
    image = PILImage.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    image.putpalette(COLOURS.tobytes())
    return image


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette(format):
    assert np.array_equal(codec.decode(encoded(palette_image(), format)), COLOURS.reshape(2, 2, 3))


def test_palette_with_a_transparent_entry_is_laid_on_white():
    expected = COLOURS.copy()
    expected[2] = 255
    for format in ("PNG", "GIF"):
        pixels = codec.decode(encoded(palette_image(), format, transparency=2))
        assert np.array_equal(pixels, expected.reshape(2, 2, 3)), format


def test_palette_with_alpha_per_entry_is_laid_on_white():
    pixels = codec.decode(encoded(palette_image(), transparency=bytes([255, 128, 0, 255])))
    assert np.array_equal(pixels.reshape(4, 3), [[255, 0, 0], [127, 255, 127], [255, 255, 255], [255, 255, 255]])


def test_rgba_is_laid_on_white():
    rgba = np.dstack([PHOTO, np.add.outer(np.arange(300), np.arange(451)).astype(np.uint8)])
    pixels = codec.decode(encoded(rgba))
    assert_rgb(pixels, 300, 451)
    alpha = rgba[..., 3:].astype(float) / 255
    assert np.abs(pixels - (PHOTO * alpha + 255 * (1 - alpha))).max() <= 1
    assert np.array_equal(codec.as_rgb_array(rgba), pixels)


def test_grey_with_alpha_is_laid_on_white():
    image = PILImage.fromarray(np.dstack([GREY, np.full_like(GREY, 0)]), "LA")
    assert (codec.decode(encoded(image)) == 255).all()
    image = PILImage.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA")
    assert np.array_equal(codec.decode(encoded(image)), np.dstack([GREY] * 3))


def test_palette_with_an_alpha_channel_in_memory():
    image = palette_image().convert("PA")
    image.putalpha(PILImage.fromarray(np.array([[0, 255], [255, 255]], np.uint8)))
    expected = COLOURS.reshape(2, 2, 3).copy()
    expected[0, 0] = 255
    assert np.array_equal(codec.to_rgb_array(image), expected)


def test_a_transparent_colour_is_laid_on_white():
    pixels = codec.decode(encoded(COLOURS.reshape(2, 2, 3), transparency=(0, 255, 0)))
    assert np.array_equal(pixels.reshape(4, 3), [[255, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 255]])


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_16_bit_grey_is_scaled_not_clipped(byte_order):
    samples = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    expected = np.dstack([samples >> 8] * 3)
    assert np.array_equal(codec.decode(png(samples, 16, 0)), expected)
    tiff = encoded(PILImage.fromarray(samples), "TIFF")
    assert np.array_equal(codec.decode(tiff), expected)
    in_memory = PILImage.fromarray(samples.astype(f"{byte_order}u2"))
    assert in_memory.mode.startswith("I;16")
    assert np.array_equal(codec.to_rgb_array(in_memory), expected)


def test_16_bit_rgb_rgba_and_grey_alpha_png():
    samples = np.linspace(0, 65535, 20 * 30 * 3).astype(np.uint16).reshape(20, 30, 3)
    assert np.array_equal(codec.decode(png(samples, 16, 2)), samples >> 8)
    opaque = np.full((20, 30, 1), 65535, np.uint16)
    assert np.array_equal(codec.decode(png(np.dstack([samples, opaque]), 16, 6)), samples >> 8)
    grey = samples[..., :1]
    assert np.array_equal(codec.decode(png(np.dstack([grey, opaque]), 16, 4)), np.dstack([grey >> 8] * 3))


def test_16_bit_png_with_a_transparent_colour():
    samples = np.full((4, 4, 3), 40_000, np.uint16)
    data = png(samples, 16, 2, png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert (codec.decode(data) == 40_000 >> 8).all()


def test_32_bit_integers_are_read_as_16_bit():
    samples = np.array([[-5, 0, 255, 256], [30_000, 65_535, 70_000, 2**31 - 1]], np.int32)
    image = PILImage.fromarray(samples)
    assert image.mode == "I"
    assert codec.to_rgb_array(image)[..., 0].tolist() == [[0, 0, 0, 1], [117, 255, 255, 255]]


def test_floats_are_levels_from_0_to_255():
    samples = np.array([[-1, 0, 0.6, 254.7], [255, 1e9, np.inf, np.nan]], np.float32)
    image = PILImage.fromarray(samples)
    assert image.mode == "F"
    assert codec.to_rgb_array(image)[..., 1].tolist() == [[0, 0, 1, 255], [255, 255, 255, 0]]


def test_grey_and_1_bit():
    assert np.array_equal(codec.decode(encoded(GREY)), np.dstack([GREY] * 3))
    bits = GREY > 100
    data = encoded(PILImage.fromarray(bits))
    assert PILImage.open(io.BytesIO(data)).mode == "1"
    assert np.array_equal(codec.decode(data), np.dstack([bits] * 3) * 255)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format):
    cmyk = PILImage.fromarray(PHOTO).convert("CMYK")
    data = encoded(cmyk, format, **({"quality": 100} if format == "JPEG" else {}))
    opened = PILImage.open(io.BytesIO(data))
    assert opened.mode == "CMYK"
    pixels = codec.decode(data)
    assert_rgb(pixels, 300, 451)
    assert np.array_equal(pixels, np.asarray(opened.convert("RGB")))
    assert np.abs(pixels.astype(int) - PHOTO).mean() < 4


@pytest.mark.parametrize("shape", [(1, 500, 3), (500, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_one_pixel_high_or_wide(shape, format):
    data = encoded(np.full(shape, 90, np.uint8), format)
    assert_rgb(codec.decode(data), *shape[:2])
    assert codec.read_size(data) == (shape[1], shape[0])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(format):
    first, second = (PILImage.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(first, format, save_all=True, append_images=[second], **options)
    assert (codec.decode(data) == COLOURS[0]).all()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_truncated_files_name_the_image(format, share):
    data = encoded(PHOTO[:100, :100], format)
    with pytest.raises(ImageError, match=r"^image of sample 's7': .*(truncated|damaged).*") as caught:
        codec.decode(data[: int(len(data) * share)], name="of sample 's7'")
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is not None


def test_a_jpeg_without_its_last_bytes_is_truncated():
    data = encoded(PHOTO, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        codec.decode(data[:-200])


def test_a_png_with_damaged_pixels():
    data = bytearray(encoded(PHOTO))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"image cat\.png: cannot be decoded"):
        codec.decode(bytes(data), name="cat.png")


@pytest.mark.parametrize("read", [codec.decode, codec.read_size])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"P", "is not an image"),
        (b"P5", "header"),
        (b"<!DOCTYPE html><html>404</html>", r"is not an image: it begins with b'<!DOCTYPE ht'.*JPEG, PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is not an image"),
        (b"\x00" * 1000, "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is not an image"),
        (b"\xff\xd8\xff", "header"),
        (b"\x89PNG\r\n\x1a\n", "header"),
    ],
)
def test_what_is_no_image_says_so(read, data, reason):
    with pytest.raises(ImageError, match=rf"^image row 3: .*{reason}"):
        read(data, name="row 3")


def test_any_bytes_give_an_image_or_an_image_error():
    rng = np.random.default_rng(0)
    for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"):
        good = encoded(PHOTO[:40, :50], format)
        for _ in range(60):
            data = bytearray(good)
            for position in rng.integers(0, len(data), 4):
                data[position] = rng.integers(0, 256)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pixels = codec.decode(bytes(data))
            except ImageError:
                continue
            assert pixels.ndim == 3


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    data = png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + png_chunk(b"IEND", b"")
    for read in (codec.decode, codec.read_size):
        with pytest.raises(ImageError, match=r"image bomb\.png: declares 60000 x 60000 pixels.*201326592"):
            read(data, name="bomb.png")


@pytest.mark.parametrize("size", [(16_384, 12_288), (16_320, 12_240), (7_680, 4_320)])
def test_the_largest_photographs_pass_without_a_warning(size):
    width, height = size
    rows = zlib.compressobj(1)
    row = b"\x00" * (1 + (width + 7) // 8)
    idat = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    data = png_header(*size, depth=1, colour=0) + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.read_size(data) == size
        image, orientation = codec._open(data, "")
    assert (image.size, orientation) == (size, 1)
    assert width * height <= codec.MAX_PIXELS


def test_pillows_own_limit_is_left_alone(monkeypatch):
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.decode(encoded(PHOTO)).shape == (300, 451, 3)
    assert PILImage.MAX_IMAGE_PIXELS == 1000


JPEGS = {
    "4:2:0": {"quality": 90, "subsampling": 2},
    "4:2:2": {"quality": 60, "subsampling": 1},
    "4:4:4": {"quality": 98, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "RGB": {"quality": 90, "keep_rgb": True},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize(
    "image", [PHOTO, PHOTO[:37, :53], PHOTO[:1, :9], PHOTO[..., 0]], ids=["even", "odd", "thin", "grey"]
)
def test_simplejpeg_equals_pillow(image, options, monkeypatch):
    data = encoded(np.ascontiguousarray(image), "JPEG", **({} if image.ndim == 2 else options))
    expected = np.asarray(PILImage.open(io.BytesIO(data)).convert("RGB"))
    pixels = codec.decode(data)
    assert_rgb(pixels, *image.shape[:2])
    assert np.array_equal(pixels, expected)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert np.array_equal(codec.decode(data), expected)


def test_simplejpeg_is_used_and_pillow_reads_what_it_refuses(monkeypatch):
    data = encoded(PHOTO, "JPEG")
    expected = codec.decode(data)
    calls = []

    def refuse(*args, **kwargs):
        calls.append(args)
        raise ValueError("refused")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    assert np.array_equal(codec.decode(data), expected)
    assert len(calls) == 1


def test_multi_picture_jpegs_give_their_first_picture():
    first, second = PILImage.fromarray(PHOTO), PILImage.new("RGB", (20, 20))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert PILImage.open(io.BytesIO(data)).format == "MPO"
    assert np.array_equal(codec.decode(data), np.asarray(PILImage.open(io.BytesIO(data))))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays_of_every_accepted_shape(shape):
    array = np.full(shape, 200, np.uint8)
    if shape[-1] == 4:
        array[..., 3] = 255
    pixels = codec.as_rgb_array(array)
    assert_rgb(pixels, 5, 7)
    assert (pixels == 200).all()
    array[:] = 0
    assert (pixels == 200).all()


def test_read_only_arrays_are_shared_unless_something_below_is_writable():
    array = PHOTO.copy()
    view = array[10:20]
    view.flags.writeable = False
    assert not np.shares_memory(codec.as_rgb_array(view), array)
    array.flags.writeable = False
    assert codec.as_rgb_array(array) is array
    assert np.shares_memory(codec.as_rgb_array(array[10:20]), array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_by_shape_and_dtype(array):
    with pytest.raises(ValueError, match="shape") as caught:
        codec.as_rgb_array(array)
    assert str(array.shape) in str(caught.value)
    assert str(array.dtype) in str(caught.value)


def test_encode_png_is_lossless():
    crop = PHOTO[50:200, 30:301]
    assert np.array_equal(codec.decode(codec.encode(crop)), crop)


def test_encode_jpeg_keeps_full_chroma_with_and_without_simplejpeg(monkeypatch):
    crop = PHOTO[50:200, 30:301]
    quick = codec.encode(crop, "jpeg")
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    slow = codec.encode(crop, "jpeg")
    for data in (quick, slow):
        opened = PILImage.open(io.BytesIO(data))
        assert (opened.format, opened.size) == ("JPEG", (271, 150))
        assert {sampling[1:3] for sampling in opened.layer} == {(1, 1)}
        assert np.abs(codec.decode(data).astype(int) - crop).mean() < 3
    assert len(codec.encode(crop, "jpeg", quality=30)) < len(slow) / 2


@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:0"])
def test_the_resolution_of_colours_is_written_and_read(chroma, monkeypatch):
    quick = codec.encode(PHOTO, "jpeg", chroma=chroma)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    for data in (quick, codec.encode(PHOTO, "jpeg", chroma=chroma)):
        assert codec.chroma_of(data) == chroma
        assert codec.chroma_of(data[:400]) == "4:4:4"  # cut off in the header
        assert codec.chroma_of(data[: len(data) // 2]) == chroma


def test_colours_of_anything_but_a_halved_jpeg_are_full():
    def saved(format, mode="RGB", **options):
        buffer = io.BytesIO()
        PILImage.fromarray(PHOTO).convert(mode).save(buffer, format, **options)
        return buffer.getvalue()

    others = (saved("PNG"), saved("WEBP"), saved("JPEG", subsampling="4:2:2"), saved("JPEG", "L"), b"", b"?")
    assert {codec.chroma_of(data) for data in others} == {"4:4:4"}


def test_encode_refuses_other_formats():
    with pytest.raises(ValueError, match="'webp'"):
        codec.encode(PHOTO, "webp")


def test_many_threads_decode_at_once():
    files = [encoded(PHOTO, "JPEG"), encoded(PHOTO), encoded(palette_image()), with_orientation(PHOTO, 6, "JPEG")]
    expected = [codec.decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(codec.decode, files * 16))
    assert all(np.array_equal(result, expected[i % 4]) for i, result in enumerate(results))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_tiff_without_pixels():
    with pytest.raises(ImageError):
        codec.decode(b"II*\x00\x08\x00\x00\x00\x00\x00")


# --- files that everybody sees alike ---------------------------------------------------------------------------------


def two_frames(format):
    frames = [PILImage.fromarray(frame) for frame in (PHOTO[:90, :90], PHOTO[50:140, :90])]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (encoded(PHOTO, "JPEG"), "jpeg"),
        (encoded(PHOTO), "png"),
        (encoded(PHOTO, "WEBP"), "webp"),
        (two_frames("MPO"), "jpeg"),
        (with_orientation(PHOTO, 1, "PNG"), "png"),
        (with_orientation(PHOTO, 6, "JPEG"), ""),
        (with_orientation(PHOTO, 6, "PNG"), ""),
        (two_frames("PNG"), ""),
        (two_frames("WEBP"), ""),
        (encoded(PHOTO, "BMP"), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("CMYK"), "JPEG"), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("RGBA")), ""),
        (encoded(PHOTO, transparency=(0, 0, 0)), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("P")), ""),
        (b"", ""),
        (b"no image", ""),
    ],
)
def test_common_formats_are_known_from_the_header(data, format):
    assert codec.common_format(data) == codec.common_format(data, grey=True) == format


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_grey_is_common_only_where_it_becomes_rgb(format):
    assert codec.common_format(encoded(GREY, format)) == ""
    assert codec.common_format(encoded(GREY, format), grey=True) == format.lower()


def test_a_common_format_is_told_without_decoding():
    assert codec.common_format(encoded(PHOTO)[:5000]) == "png"
