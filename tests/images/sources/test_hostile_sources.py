"""Documents and videos that ask for too much: a clear error, and the next read is served."""

from fractions import Fraction

import pytest

from deepeyes_env.errors import ImageError
from deepeyes_env.images.sources import videos
from deepeyes_env.images.sources.documents import Page
from deepeyes_env.images.sources.videos import Frame
from tests.pdf_files import pdf
from tests.video_files import number_of, write_video


def test_a_page_larger_than_the_format_allows_is_refused(tmp_path):
    (tmp_path / "wide.pdf").write_bytes(pdf(b"", (999_999, 792)))
    with pytest.raises(ImageError, match="points"):
        _ = Page(tmp_path / "wide.pdf", dpi=4800).size


def test_no_part_of_a_page_is_drawn_in_too_many_pixels(tmp_path):
    (tmp_path / "page.pdf").write_bytes(pdf(b""))
    with pytest.raises(ImageError, match="10000 x 10000 pixels is too large to be drawn"):
        Page(tmp_path / "page.pdf").read((0, 0, 1224, 1584), (10_000, 10_000))


def test_a_frame_that_takes_too_long_to_find_is_given_up(tmp_path, monkeypatch):
    write_video(tmp_path / "clip.mp4", 40, Fraction(10), key_every=40)
    frame = Frame(tmp_path / "clip.mp4", 3.5)
    assert frame.size == (160, 120)
    with monkeypatch.context() as patch:
        patch.setattr(videos, "MAX_SECONDS", 0.0)
        with pytest.raises(ImageError, match=r"clip\.mp4: a frame takes more than 0 s to find"):
            frame.render()
    assert number_of(frame.render()) == 35
