"""Checksums beside files: what changed is named, and a stranger's list opens nothing."""

from __future__ import annotations

import json

import pytest

from deepeyes_env.checksums import CHECKSUMS, verify_checksums, write_checksums
from deepeyes_env.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "state").write_bytes(b"def")
    write_checksums(tmp_path)
    return tmp_path


def test_unchanged_files_pass_and_so_do_new_ones(folder):
    verify_checksums(folder)
    (folder / "new").touch()
    verify_checksums(folder)


def test_a_folder_without_checksums_passes(tmp_path):
    verify_checksums(tmp_path)


def test_a_flipped_bit_is_named(folder):
    (folder / "weights").write_bytes(b"abb")
    with pytest.raises(
        DataError, match=r"'weights' has changed since its checksum was written; .*delete checksums.json"
    ):
        verify_checksums(folder)


def test_a_file_that_is_gone_is_named(folder):
    (folder / "state").unlink()
    with pytest.raises(DataError, match="'state' is gone"):
        verify_checksums(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": NaN}'])
def test_damaged_checksums(folder, text):
    (folder / CHECKSUMS).write_text(text)
    with pytest.raises(DataError, match="checksums.json: is damaged"):
        verify_checksums(folder)


def test_a_strangers_list_opens_no_file(folder):
    (folder / CHECKSUMS).write_text(json.dumps({"/dev/zero": "", "../x": ""}))  # reading it would never end
    with pytest.raises(DataError, match="is gone"):
        verify_checksums(folder)
