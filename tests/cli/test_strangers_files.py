"""No command touches a file that it did not write, wherever it lies and whatever flags are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deepeyes_env.cli.app import app

NAMES = ("notes.txt", "image.png", "metrics.csv", "config.json.bak")


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plant(folder: Path) -> dict[Path, bytes]:
    """Put files of somebody else's into a folder and all below it."""
    planted = {}
    for place in [folder, *(each for each in folder.rglob("*") if each.is_dir())]:
        for name in NAMES:
            (place / name).write_text(f"mine: {name}", encoding="utf-8")
            planted[place / name] = (place / name).read_bytes()
    return planted


def check(planted: dict[Path, bytes]) -> None:
    assert {path: path.read_bytes() if path.is_file() else None for path in planted} == planted


def photos(folder: Path) -> Path:
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


ROLLOUT = ("rollout", "--agent", "noisy", "--episodes", 3, "--out")
EVAL = ("eval", "--agent", "oracle", "--bench", "visual_search", "--limit", 3, "--out")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (ROLLOUT, [(), ("--overwrite",), ("--resume",)]),
        (EVAL, [(), ("--overwrite",), ("--resume",), ("--rescore",), ("--rescore", "--rubric", "deepeyes")]),
    ],
    ids=["rollout", "eval"],
)
def test_commands_that_record_a_run(tmp_path, command, flags):
    out = tmp_path / "run"
    first = deepeyes(*command, out)
    assert first.exit_code == 0, first.output
    planted = plant(out)
    for each in flags:
        deepeyes(*command, out, *each)
        check(planted)


@pytest.mark.integration
def test_commands_that_read_a_run(tmp_path):
    for name, agent in (("a", "oracle"), ("b", "noisy")):
        made = deepeyes("eval", "--agent", agent, "--bench", "visual_search", "--limit", 3, "--out", tmp_path / name)
        assert made.exit_code == 0, made.output
    compared = ("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "compared")
    exported = ("export", tmp_path / "a", "--out", tmp_path / "exported" / "run.jsonl", "--format", "openai")
    viewed = ("view", tmp_path / "a", "--out", tmp_path / "page")
    for command in (compared, exported, viewed):
        result = deepeyes(*command)
        assert result.exit_code == 0, result.output
    planted = plant(tmp_path)
    for command in (compared, exported, (*exported, "--overwrite"), viewed):
        deepeyes(*command)
        check(planted)


def test_photos(tmp_path):
    command = ("photos", photos(tmp_path / "source"), tmp_path / "out" / "mine.parquet", "--samples-per-photo", 1)
    first = deepeyes(*command)
    assert first.exit_code == 0, first.output
    planted = plant(tmp_path / "out")
    for flags in ((), ("--overwrite",)):
        deepeyes(*command, *flags)
        check(planted)


def test_a_folder_of_somebody_elses_is_no_place_for_a_policy(tmp_path):
    planted = plant(tmp_path)
    refused = deepeyes("build-tiny", "--out", tmp_path)
    assert refused.exit_code == 1
    assert "it is left as it is" in refused.output
    check(planted)


@pytest.mark.integration
def test_training(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    out = tmp_path / "run"
    small = (
        "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=2", "evaluation.samples=4", "steps=1",
        "checkpoint.every=1", f"out={out}",
    )  # fmt: skip
    first = deepeyes("train", *small)
    assert first.exit_code == 0, first.output
    planted = plant(out)
    for flags in ((), ("--overwrite",), ("--resume", "steps=2"), ("--resume", "--overwrite")):
        deepeyes("train", *flags, *small)
        check(planted)


def test_an_ablation_goes_into_no_other_kind_of_folder(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    assert deepeyes(*ROLLOUT, tmp_path / "run").exit_code == 0
    planted = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    refused = deepeyes("ablate", f"out={tmp_path / 'run'}", "steps=1")
    assert refused.exit_code == 1
    assert "of a comparison of rewards" in " ".join(refused.output.split())
    check(planted)
    assert {path for path in (tmp_path / "run").rglob("*") if path.is_file()} == set(planted)
