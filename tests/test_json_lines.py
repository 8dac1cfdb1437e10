"""Files of lines: whole or not there, whatever happens to who writes them."""

import json
import logging
import signal
import threading

import pytest

from deepeyes_env.json_lines import JSONLinesFile, read_lines


def lines_of(path):
    return [json.loads(line) for _, line in read_lines(path)]


def test_lines_are_read_back_with_their_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    for line in ('{"a": 1}', '"\u2028\x85é"'):
        with JSONLinesFile(path) as file:
            file.append(line)
    assert list(read_lines(path)) == [(1, b'{"a": 1}'), (2, '"\u2028\x85é"'.encode())]
    assert list(read_lines(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("torn", [b'{"a"', b"\x00\x00\x00", '{"a": "é'.encode()[:-1], b"[" * 5000])
def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path, caplog, torn):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n2\n" + torn)
    with caplog.at_level(logging.WARNING):
        assert lines_of(path) == [1, 2]
    assert f"line 3: torn ({len(torn)} bytes)" in caplog.text
    with JSONLinesFile(path) as file:
        file.append("4")
    assert path.read_bytes() == b"1\n2\n4\n"
    assert "cut off a torn last line" in caplog.text


def test_a_last_line_that_lacks_only_its_line_feed_is_whole(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n2")
    assert lines_of(path) == [1, 2]
    JSONLinesFile(path).close()
    assert path.read_bytes() == b"1\n2\n"
    assert caplog.text == ""


def test_garbage_before_the_last_line_is_for_the_reader_to_find(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"garbage\n\n2\n")
    assert [line for _, line in read_lines(path)] == [b"garbage", b"", b"2"]


def test_threads_share_a_file(tmp_path):
    with JSONLinesFile(tmp_path / "a.jsonl") as file:

        def write(number):
            for i in range(100):
                file.append(json.dumps([number, i] * 50))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(tuple(line[:2]) for line in lines_of(tmp_path / "a.jsonl")) == [
        (number, i) for number in range(4) for i in range(100)
    ]


def test_text_that_utf_8_cannot_hold_does_not_stop_a_run(tmp_path):
    with JSONLinesFile(tmp_path / "a.jsonl") as file:
        file.append('"\ud800x"')
    assert lines_of(tmp_path / "a.jsonl") == ["?x"]


def test_a_line_for_which_the_disk_has_no_room_leaves_nothing_and_names_the_file(tmp_path):
    resource = pytest.importorskip("resource", reason="file size limits are POSIX's")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with JSONLinesFile(tmp_path / "a.jsonl") as file:
        file.append("1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(OSError, match=r"too large: .*a\.jsonl"):
                file.append(json.dumps("x" * 100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        file.append("2")
    assert lines_of(tmp_path / "a.jsonl") == [1, 2]


def test_a_file_may_be_for_one_writer_only(tmp_path):
    path = tmp_path / "a.jsonl"
    with JSONLinesFile(path, exclusive=True), pytest.raises(FileExistsError, match=r"a\.jsonl: is being written"):
        JSONLinesFile(path, exclusive=True)
    JSONLinesFile(path, exclusive=True).close()


def test_a_closed_file_is_not_written(tmp_path):
    file = JSONLinesFile(tmp_path / "a.jsonl")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.append("1")
