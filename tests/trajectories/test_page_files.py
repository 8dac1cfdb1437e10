"""The folder that write_page writes."""

import io
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from deepeyes_env.core import Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.errors import DataError
from deepeyes_env.trajectories import TrajectoryWriter, write_page
from deepeyes_env.trajectories.page_data import MAX_TEXT

Make = Callable[..., Trajectory]


def record(folder: Path, *episodes: Trajectory) -> Path:
    with TrajectoryWriter(folder) as writer:
        for episode in episodes:
            writer.write(episode)
    return folder


def data_of(page: Path) -> list[Any]:
    """Read data.js the way a browser would: every line an episode, the last one the header."""
    script = (page.parent / "data.js").read_text("ascii")
    lines = [line.removesuffix(",") for line in script.splitlines()[1:-2]]
    header = re.fullmatch(r"header: JSON\.parse\((.*)\) };", script.splitlines()[-1])
    assert header is not None
    return [json.loads(json.loads(line)) for line in [*lines, header[1]]]


def image_urls(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value} if re.search(r"[0-9a-f]{64}\.\w+$", value) else set()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return set().union(*map(image_urls, items))


@pytest.mark.parametrize("out", [None, "page", "deep/er", "../elsewhere"])
def test_every_image_is_reachable(tmp_path: Path, make_episode: Make, out: str | None) -> None:
    run = record(tmp_path / "run", make_episode())
    page = write_page(run, None if out is None else run / out)
    assert page == (run if out is None else run / out) / "index.html"
    urls = image_urls(data_of(page))
    assert len(urls) == 3  # the image, its view, the crop
    assert all((page.parent / url).is_file() for url in urls)
    assert all(not url.startswith("..") for url in urls) == (out in (None, "../elsewhere"))
    assets = re.findall(r'(?:src|href)="([^":]+)"', page.read_text())
    assert all((page.parent / asset).is_file() for asset in assets)
    assert {"data.js", "viewer.css", "viewer.js"} <= set(assets)


def test_images_elsewhere_are_links_or_copies(
    tmp_path: Path, make_episode: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record(tmp_path / "run", make_episode())
    linked = write_page(run, tmp_path / "linked")

    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr(os, "link", refuse)
    copied = write_page(run, tmp_path / "copied")
    (name,) = image_urls(data_of(linked)[0]["shown"][0]["stored"])
    assert (linked.parent / name).samefile(run / name)
    assert not (copied.parent / name).samefile(run / name)
    assert (copied.parent / name).read_bytes() == (run / name).read_bytes()
    write_page(run, tmp_path / "copied")  # again, over the first


def test_a_format_that_browsers_do_not_show_is_converted(tmp_path: Path, make_episode: Make) -> None:
    tiff = io.BytesIO()
    PILImage.new("RGB", (40, 30), (10, 200, 30)).save(tiff, "tiff")
    episode = make_episode()
    sample = Sample("t", "?", "a", (tiff.getvalue(),))
    run = record(tmp_path / "run", replace(episode, sample=sample))
    page = write_page(run)
    url = data_of(page)[0]["shown"][0]["stored"]
    assert url.startswith("converted/")
    with PILImage.open(page.parent / url) as image:
        assert image.format == "PNG"
        assert image.getpixel((0, 0)) == (10, 200, 30)
    assert list((run / "images").rglob("*.tiff"))


def test_data_is_plain_ascii_that_cannot_end_its_script(tmp_path: Path, make_episode: Make) -> None:
    hostile = "</script><script>alert(1)</script>\u2028\u2029 \ud800 \x00 \u00e9"
    run = record(tmp_path / "run", make_episode(id=hostile, think=hostile, last=hostile))
    page = write_page(run)
    script = (page.parent / "data.js").read_bytes()
    assert script.isascii()
    allowed = "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data:;"
    assert f'http-equiv="Content-Security-Policy" content="{allowed}' in page.read_text(encoding="utf-8")
    assert b"<" not in script
    episode = data_of(page)[0]
    assert episode["id"] == hostile.replace("\ud800", "\ufffd")


def test_numbers_that_browsers_cannot_parse(tmp_path: Path, make_episode: Make) -> None:
    call = ToolResult(ToolCall("zoom", {"bbox_2d": [float("nan")]}), box=(0.0, 0.0, float("inf"), 1.0))
    episode = replace(make_episode(), turns=(Turn("", results=(call,)),), reward=float("nan"))
    (shown, header) = data_of(write_page(record(tmp_path / "run", episode)))
    assert shown["reward"] is None
    assert header["reward"] is None
    assert shown["turns"][0]["calls"][0]["arguments"] == '{"bbox_2d": [NaN]}'
    assert shown["turns"][0]["calls"][0]["box"] is None


def test_texts_of_megabytes_are_cut(tmp_path: Path, make_episode: Make) -> None:
    run = record(tmp_path / "run", make_episode(last="x" * 10_000_000))
    page = write_page(run)
    shown = data_of(page)[0]["turns"][-1]["action"]
    assert shown[:MAX_TEXT] == "x" * MAX_TEXT
    assert "9,960,000 more characters" in shown
    assert (page.parent / "data.js").stat().st_size < 100_000


def test_a_system_prompt_is_stored_once(tmp_path: Path, make_episode: Make) -> None:
    other = replace(make_episode(), system_prompt="Another.")
    *shown, header = data_of(write_page(record(tmp_path / "run", make_episode(), other, make_episode())))
    assert [episode["system"] for episode in shown] == [0, 1, 0]
    assert header["systemPrompts"] == [make_episode().system_prompt, "Another."]


def test_a_run_that_cannot_be_read_leaves_the_old_page(tmp_path: Path, make_episode: Make) -> None:
    run = record(tmp_path / "run", make_episode())
    page = write_page(run)
    before = (run / "data.js").read_bytes()
    with (run / "trajectories.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match="line 2"):
        write_page(run)
    assert page.exists()
    assert (run / "data.js").read_bytes() == before
    assert not list(run.rglob("*.tmp"))
    with pytest.raises(DataError, match="no such file"):
        write_page(tmp_path / "typo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_file_of_trajectories_stands_for_its_folder(tmp_path: Path, make_episode: Make) -> None:
    by_folder = write_page(record(tmp_path / "run", make_episode())).with_name("data.js").read_text(encoding="utf-8")
    page = write_page(tmp_path / "run" / "trajectories.jsonl")
    assert page == tmp_path / "run" / "index.html"
    assert page.with_name("data.js").read_text(encoding="utf-8") == by_folder
    with pytest.raises(FileExistsError, match=r"data\.js' is a file; name a folder"):
        write_page(tmp_path / "run", page.with_name("data.js"))


def test_an_image_that_is_gone_does_not_stop_the_page(
    tmp_path: Path, make_episode: Make, caplog: pytest.LogCaptureFixture
) -> None:
    run = record(tmp_path / "run", make_episode())
    shutil.rmtree(run / "images")
    with caplog.at_level(logging.WARNING):
        page = write_page(run, tmp_path / "page")
    assert len(data_of(page)) == 2
    assert caplog.text.count("the page cannot show it") == 3
