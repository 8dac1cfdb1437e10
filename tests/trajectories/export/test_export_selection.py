"""Which episodes are exported, what is refused, and that a file appears whole or not at all."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from deepeyes_env.errors import DataError, UnknownNameError, UsageError
from deepeyes_env.images.files import portable_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories.export import FORMATS, Format, Selection, check, export, register_export
from deepeyes_env.trajectories.export.pictures import PictureFolder

SUFFIX = {"sharegpt": "jsonl", "openai": "jsonl", "huggingface": "parquet"}


def kept(trajectories, **conditions):
    selection = Selection(**conditions)
    return [trajectory for trajectory in trajectories if not selection.reason_to_skip(trajectory)]


def test_conditions_select(noisy):
    assert 0 < len(kept(noisy, right=True)) < len(noisy)
    assert kept(noisy, right=True) == [t for t in noisy if t.right]
    assert kept(noisy, min_reward=1.5) == [t for t in noisy if t.reward >= 1.5]
    clean = kept(noisy, clean=True)
    assert 0 < len(clean) < len(noisy)
    assert all(result.ok for t in clean for result in t.results)
    looked = kept(noisy, used_tools=True)
    assert looked == [t for t in noisy if t.image_count > 1]
    both = kept(noisy, right=True, clean=True)
    assert both == [t for t in clean if t.right]


def test_an_episode_that_ran_out_of_turns_is_not_clean(oracle):
    cut = replace(oracle[0], stop_reason="max_turns", terminated=False, truncated=True)
    assert Selection(clean=True).reason_to_skip(cut) == "no answer"


def test_a_run_that_was_not_scored_cannot_be_selected_by_score(oracle, tmp_path):
    unscored = replace(oracle[0], reward_terms={}, correct=None)
    for selection in (Selection(right=True), Selection(min_reward=0.0)):
        assert selection.reason_to_skip(unscored) == "not scored"
    with pytest.raises(DataError, match=r"\(not scored 1\); nothing was written; play with a rubric, or judge the run"):
        export([unscored], tmp_path / "a.jsonl", "sharegpt", selection=Selection(right=True))
    no_verdict = replace(oracle[0], correct=None)
    assert Selection(right=True).reason_to_skip(no_verdict) == "not scored"
    assert Selection(min_reward=1.0).reason_to_skip(no_verdict) == ""
    by_other_terms = replace(oracle[0], reward_terms={"format": oracle[0].reward_terms["format"]})
    assert Selection(right=True).reason_to_skip(by_other_terms) == ""
    judged_only = replace(oracle[0], reward_terms={})
    assert Selection(right=True).reason_to_skip(judged_only) == ""


def test_with_tools_or_without(oracle):
    plain = replace(oracle[0], toolbox="")
    assert kept([oracle[1], plain], tools="on") == [oracle[1]]
    assert kept([oracle[1], plain], tools="off") == [plain]
    with pytest.raises(ValueError, match="tools='both': must be 'on' or 'off'"):
        Selection(tools="both")


@pytest.mark.parametrize("format", SUFFIX)
def test_export_counts_and_check_agrees(noisy, tmp_path, format):
    path = tmp_path / f"out.{SUFFIX[format]}"
    done = export(noisy, path, format, selection=Selection(right=True, clean=True))
    assert done.written + sum(done.left_out.values()) == len(noisy)
    assert set(done.left_out) == {"wrong answer", "failed call"}
    held = check(path, format)
    chosen = kept(noisy, right=True, clean=True)
    assert (held.rows, held.images) == (len(chosen), sum(t.image_count for t in chosen))


def test_check_decodes_images(oracle, tmp_path):
    export(oracle, tmp_path / "cold.jsonl", "sharegpt")
    name = max((p for p in (tmp_path / "images").rglob("*.png")), key=lambda p: p.stat().st_size)
    whole = name.read_bytes()
    name.unlink()  # it may be a link to the run's own
    name.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cold.jsonl, row \d: .*cannot be decoded"):
        check(tmp_path / "cold.jsonl", "sharegpt")


@pytest.mark.parametrize("format", SUFFIX)
def test_a_failure_leaves_the_old_file(oracle, tmp_path, format):
    path = tmp_path / f"out.{SUFFIX[format]}"
    path.write_text("old")

    def failing():
        yield oracle[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        export(failing(), path, format)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [path.name]


@pytest.mark.parametrize("format", SUFFIX)
def test_nothing_left_is_an_error(oracle, tmp_path, format):
    path = tmp_path / f"out.{SUFFIX[format]}"
    with pytest.raises(DataError, match=r"no episode is left to write \(reward below 9 6\); nothing was written"):
        export(oracle, path, format, selection=Selection(min_reward=9))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "format", "kwargs", "message"),
    [
        ("a.jsonl", "alpaca", {}, "unknown format 'alpaca'; known: huggingface, messages, openai, sharegpt"),
        ("a.json", "sharegpt", {}, "a file of format sharegpt must end in .jsonl"),
        ("a.csv", "vlmevalkit", {}, "a file of format vlmevalkit must end in .xlsx or .tsv"),
        ("a.jsonl", "openai", {"calls": "xml"}, "calls='xml': must be 'text' or 'native'"),
        ("a.parquet", "huggingface", {"calls": "text"}, "calls='text': has no effect on format huggingface"),
        ("a.jsonl", "openai", {"dataset": []}, "dataset: has no effect on format openai"),
    ],
)
def test_wrong_arguments_are_named(oracle, tmp_path, name, format, kwargs, message):
    with pytest.raises(ValueError, match=message):
        export(oracle, tmp_path / name, format, **kwargs)
    assert tuple(FORMATS)[:5] == ("sharegpt", "messages", "huggingface", "openai", "vlmevalkit")


def test_a_format_of_ones_own_needs_no_reader(oracle, tmp_path):
    def write(conversations, path):
        path.write_text("".join(f"{conversation.id}\n" for conversation in conversations))

    register_export("test_ids", Format(".txt", write, reason_to_skip=lambda made: "" if made.images else "no image"))
    assert export(oracle, tmp_path / "ids.txt", "test_ids").written == 6
    assert (tmp_path / "ids.txt").read_text().split() == [trajectory.sample.id for trajectory in oracle]
    with pytest.raises(UsageError, match="format test_ids has no reader, so that its files cannot be checked"):
        check(tmp_path / "ids.txt", "test_ids")
    with pytest.raises(UsageError, match="calls='text': has no effect on format test_ids"):
        export(oracle, tmp_path / "ids.txt", "test_ids", calls="text")
    with pytest.raises(UnknownNameError, match=r"unknown format 'test_id'; did you mean 'test_ids'\?"):
        check(tmp_path / "ids.txt", "test_id")


# --- images ----------------------------------------------------------------------------------------------------------


def encoded(mode, format, **options):
    pixels = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(30, 40, 3) % 251
    image = PILImage.fromarray(pixels.astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = PILImage.Exif()
    tags[0x0112] = orientation
    return tags


PLAIN = {
    "jpg": encoded("RGB", "JPEG"),
    "png": encoded("RGB", "PNG"),
    "webp": encoded("RGB", "WEBP", lossless=True),
}


@pytest.mark.parametrize("extension", PLAIN)
def test_plain_images_keep_their_bytes(extension):
    assert portable_image(ImageRef(PLAIN[extension])) == (PLAIN[extension], extension)


@pytest.mark.parametrize(
    "data",
    [
        encoded("RGB", "BMP"),
        encoded("CMYK", "JPEG"),
        encoded("L", "PNG"),
        encoded("P", "GIF"),
        encoded("RGBA", "PNG"),
        encoded("RGB", "PNG", transparency=(0, 1, 2)),
        encoded("RGB", "JPEG", exif=exif(6)),
        encoded("RGB", "PNG", exif=exif(3)),
    ],
    ids=["bmp", "cmyk", "grey", "gif", "rgba", "transparent", "turned", "turned-png"],
)
def test_others_become_png_with_the_pixels_that_the_policy_saw(data):
    image = ImageRef(data)
    written, extension = portable_image(image)
    assert extension == "png"
    with PILImage.open(io.BytesIO(written)) as opened:
        assert opened.mode == "RGB"
        assert np.array_equal(np.asarray(opened), image.pixels())


def test_files_are_linked_not_copied(tmp_path):
    (tmp_path / "run").mkdir()
    source = tmp_path / "run" / "a.png"
    source.write_bytes(PLAIN["png"])
    folder = PictureFolder(tmp_path / "out")
    name = folder.add(ImageRef(source))
    assert folder.add(ImageRef(PLAIN["png"])) == name
    assert source.samefile(tmp_path / "out" / name)
