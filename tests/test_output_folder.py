"""Folders of commands: what is ours is recognised, and nothing else is deleted."""

from pathlib import Path

import pytest

from deepeyes_env.output_folder import MARKER, OutputFolder, is_vacant
from tests.dying import deaths

TEMPORARY = ".settings.json.01234567-1-01234567.tmp"

RUN = OutputFolder("run of ours", ("verdicts.txt", "settings.json", "pictures/*.png", "parts/*"))


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")


def held(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def ours(tmp_path):
    RUN.claim(tmp_path / "run")
    put(tmp_path / "run", "settings.json", "verdicts.txt", "pictures/ab/1.png", "parts/a/b.bin", TEMPORARY)
    return tmp_path / "run"


def test_what_a_run_wrote_is_deleted_and_the_folder_stays_ours(ours):
    (ours / "parts" / "a" / "empty" / "too").mkdir(parents=True)  # as wandb leaves them
    RUN.clear(ours)
    assert held(ours) == [MARKER]
    assert RUN.is_at(ours)
    assert is_vacant(ours)
    RUN.clear(ours)


@pytest.mark.integration
def test_what_a_killed_deletion_left_is_deleted_by_the_next(ours):
    kills = 0
    for kills in deaths(lambda: RUN.clear(ours), ours):  # noqa: B007
        RUN.clear(ours)
        assert held(ours) == [MARKER]
        put(ours, "settings.json", "pictures/ab/1.png", "parts/a/b.bin")
    assert kills > 5
    assert held(ours) == [MARKER]


@pytest.mark.parametrize("name", ["notes.txt", "pictures/ab/mine.jpg", "settings.json.bak", "verdicts.txt/mine"])
def test_a_stranger_s_file_stays_and_keeps_all_else(ours, name):
    if name.startswith("verdicts.txt"):
        (ours / "verdicts.txt").unlink()
    put(ours, name)
    before = held(ours)
    with pytest.raises(FileExistsError, match=f"holds {name}, which no run of ours writes"):
        RUN.clear(ours)
    assert held(ours) == before


def test_what_is_not_marked_as_of_this_kind_is_not_ours(ours, tmp_path):
    (ours / MARKER).unlink()
    with pytest.raises(FileExistsError, match="is not marked as the folder of a run of ours"):
        RUN.clear(ours)
    OutputFolder("model", ("settings.json",)).claim(ours)
    marked = "run: holds parts and is marked as the folder of a model, not of a run of ours"
    with pytest.raises(FileExistsError, match=marked):
        RUN.clear(ours)
    assert (ours / "settings.json").exists()


def test_links_are_not_followed(ours, tmp_path):
    put(tmp_path, "elsewhere/precious.bin")
    (ours / "parts" / "link").symlink_to(tmp_path / "elsewhere")
    RUN.clear(ours)
    assert held(ours) == [MARKER]
    assert (tmp_path / "elsewhere" / "precious.bin").exists()


def test_files_that_desktops_leave_are_nobody_s(ours):
    put(ours, ".DS_Store", "pictures/.DS_Store")
    RUN.clear(ours)
    assert held(ours) == [".DS_Store", MARKER, "pictures", "pictures/.DS_Store"]
    assert not is_vacant(ours)
    RUN.clear(ours)


def test_an_empty_folder_and_none_are_vacant_and_a_file_is_refused(tmp_path):
    assert is_vacant(tmp_path)
    assert is_vacant(tmp_path / "none")
    RUN.clear(tmp_path / "none")
    put(tmp_path, "file")
    with pytest.raises(FileExistsError, match="is a file; name a folder"):
        is_vacant(tmp_path / "file")
    assert not is_vacant(tmp_path)


def test_files_go_in_the_order_that_is_given(ours, monkeypatch):
    gone, unlink = [], Path.unlink

    def told(path, missing_ok=False):
        gone.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", told)
    RUN.clear(ours)
    assert gone == ["verdicts.txt", "settings.json", "1.png", "b.bin", TEMPORARY]
