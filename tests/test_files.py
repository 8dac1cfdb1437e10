"""Files and folders that appear whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.checksums import CHECKSUMS, verify_checksums
from deepeyes_env.files import (
    check_folder,
    is_temporary,
    link_or_copy,
    remove_folder,
    replacing,
    replacing_folder,
    sweep,
)
from tests.dying import deaths


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
    assert sorted(each.name for each in path.iterdir()) == [CHECKSUMS, "second"]


DIES = """
import os, sys
from pathlib import Path
from deepeyes_env.files import replacing, replacing_folder

with replacing(Path(sys.argv[1])) as file, replacing_folder(Path(sys.argv[2])) as folder:
    file.touch()
    (folder / "half").touch()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.integration
def test_what_a_killed_writer_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", DIES, tmp_path / "file", tmp_path / "folder"], env=environment, check=False)
    left = [each.name for each in tmp_path.iterdir()]
    assert len(left) == 2
    assert all(map(is_temporary, left))
    strangers = [".notes.tmp", ".file.tmp", ".file.0123abcd.tmp", ".x.00000000-1-01234567.tmp"]
    for name in strangers:
        (tmp_path / name).touch()
    with replacing(tmp_path / "other") as living:
        living.touch()
        with replacing_folder(tmp_path / "folder") as temporary:
            assert list(temporary.iterdir()) == []
        assert living.exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*strangers, "folder", "other"])


def test_a_strangers_file_in_a_folder_that_is_replaced_stays(tmp_path):
    path = tmp_path / "folder"
    with replacing_folder(path) as temporary:
        (temporary / "first").touch()
    (path / "mine").touch()
    with replacing_folder(path) as temporary:
        (temporary / "second").touch()
    assert sorted(each.name for each in path.iterdir()) == [CHECKSUMS, "mine", "second"]
    (path / "third").touch()
    third = pytest.raises(FileExistsError, match="holds third, which was changed or is another")
    with third, replacing_folder(path) as temporary:
        (temporary / "third").touch()
    remove_folder(path)
    assert sorted(each.name for each in path.iterdir()) == ["mine", "third"]


def filled(path, name):
    with replacing_folder(path) as temporary:
        (temporary / name).write_text(name)
        (temporary / "both").write_text(name)


@pytest.mark.integration
@pytest.mark.parametrize("strangers", [(), ("mine",)])
def test_a_writer_killed_at_any_moment_leaves_a_whole_folder_and_each_strangers_file(tmp_path, strangers):
    path, work = tmp_path / "in" / "folder", lambda: filled(path, "second")
    filled(path, "first")
    for name in strangers:
        (path / name).write_text(name)
    moments = 0
    for moments in deaths(work, tmp_path):  # noqa: B007
        sweep(path.parent)
        assert [each.name for each in path.parent.iterdir()] == ["folder"], "nothing is left behind"
        verify_checksums(path)
        assert (path / "both").read_text() in ("first", "second")
        assert (path / (path / "both").read_text()).exists()
        assert all((path / name).read_text() == name for name in strangers)
        remove_folder(path)
        filled(path, "first")
    assert moments > 5
    assert sorted(each.name for each in path.iterdir()) == sorted(["both", CHECKSUMS, "second", *strangers])


@pytest.mark.integration
def test_a_folder_whose_deletion_is_killed_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "in" / "folder"
    filled(path, "first")
    (path / "mine").touch()
    whole = sorted(["both", CHECKSUMS, "first", "mine"])
    for _ in deaths(lambda: remove_folder(path), tmp_path):
        sweep(path.parent)
        assert [each.name for each in path.parent.iterdir()] == ["folder"]
        left = sorted(each.name for each in path.iterdir())
        assert left in (whole, ["mine"])
        shutil.rmtree(path)
        filled(path, "first")
        (path / "mine").touch()
    assert [each.name for each in path.iterdir()] == ["mine"]


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


def test_a_failed_write_names_the_file_that_was_to_be(tmp_path):
    with pytest.raises(OSError, match=r"No space left.*a\.txt"), replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
