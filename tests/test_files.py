"""Files and folders that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from deepeyes_env.files import check_folder, is_temporary, link_or_copy, replacing, replacing_folder


def interrupted(replace, path, write):
    with replace(path) as temporary:
        write(temporary)
        raise ValueError("half")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert is_temporary(temporary.relative_to(tmp_path).as_posix())
    with pytest.raises(ValueError, match="half"):
        interrupted(replacing, path, lambda temporary: temporary.write_text("second"))
    assert [each.name for each in path.parent.iterdir()] == ["file"]
    assert path.read_text() == "first"


def test_a_folder_that_can_be_written_to_is_left_as_it_was(tmp_path):
    check_folder(tmp_path / "new" / "folder")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file' is a file; name a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"new: cannot be written to \(Not a directory\); give another folder"):
        check_folder(tmp_path / "file" / "new")
    if Path("/proc/self").exists():
        with pytest.raises(OSError, match=r"^/proc/new/folder: cannot be written to \(.*\); give another folder"):
            check_folder(Path("/proc/new/folder"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "folder"
    for name in ("first", "second"):
        with replacing_folder(path) as temporary:
            (temporary / name).write_text(name)
            assert is_temporary((temporary / name).relative_to(tmp_path).as_posix())
    with pytest.raises(ValueError, match="half"):
        interrupted(replacing_folder, path, lambda temporary: (temporary / "third").touch())
    assert [each.name for each in path.parent.iterdir()] == ["folder"]
    assert [each.name for each in path.iterdir()] == ["second"]
    (tmp_path / "new" / ".folder.tmp").mkdir()  # by a process that was killed
    (tmp_path / "new" / ".folder.tmp" / "half").touch()
    with replacing_folder(path) as temporary:
        assert list(temporary.iterdir()) == []


def test_a_file_is_linked_where_it_can_be(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").samefile(tmp_path / "a")

    def refuse(source, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "a"
    assert not (tmp_path / "c").samefile(tmp_path / "a")
