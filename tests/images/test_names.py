"""Names of images that are URLs: what lies on this machine is opened, nothing is fetched, errors stay short."""

import base64

import pytest

from deepeyes_env import Sample
from deepeyes_env.errors import ImageError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.names import named_image
from tests.images.image_files import PHOTO, encoded

IMAGE = encoded(PHOTO[:8, :8])
BASE64 = base64.b64encode(IMAGE).decode()


@pytest.mark.parametrize("url", [f"data:image/png;base64,{BASE64}", f"DATA:;base64,{BASE64[:50]}\n {BASE64[50:]}"])
def test_a_data_url_holds_its_image(url):
    assert named_image(url) == IMAGE
    assert Sample("s", "q", "a", url).images[0].size == (8, 8)


def test_a_file_url_is_a_path(tmp_path):
    (tmp_path / "a b.png").write_bytes(IMAGE)
    for host in ("", "localhost"):
        assert ImageRef.of(f"file://{host}{tmp_path}/a%20b.png").encoded() == IMAGE
    assert ImageRef.of(str(tmp_path / "a b.png")).size == (8, 8)


@pytest.mark.parametrize("name", ["https://example.org/a.png", "file://server/a.png", "S3://bucket/a.png"])
def test_nothing_is_fetched(name):
    with pytest.raises(ImageError, match="nothing is fetched: download it"):
        Sample("s", "q", "a", name)


@pytest.mark.parametrize("body", ["data:image/png;base64,", "data:image/png", "data:image/png;base64,!", ""])
def test_errors_are_short_whatever_the_name_holds(body):
    with pytest.raises(ImageError) as error:
        Sample("s", "q", "a", body + "A" * 400_001).images[0].size  # noqa: B018
    assert len(str(error.value)) < 300
