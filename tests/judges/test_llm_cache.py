import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from deepeyes_env.judges.llm_cache import JudgementCache

WRITER = """
import sys
from deepeyes_env.judges.llm_cache import JudgementCache
cache = JudgementCache(sys.argv[1])
for i in range(40):
    cache.put(f"{sys.argv[2]} {i}", i / 40)
    cache.put(f"shared {i}", i / 40)
    assert cache.get(f"shared {i}") == i / 40
"""


def test_what_is_put_is_got_also_by_another_cache(tmp_path) -> None:
    path = tmp_path / "new" / "folder" / "judgements.sqlite3"
    cache = JudgementCache(path)
    assert cache.get("a") is None
    cache.put("a", 1.0)
    cache.put("b", 0.0)
    cache.put("a", 0.0)
    assert [JudgementCache(str(path)).get(key) for key in "abc"] == [1.0, 0.0, None]


@pytest.mark.integration
def test_threads_and_processes_share_a_file(tmp_path, caplog) -> None:
    path = tmp_path / "judgements.sqlite3"
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stderr=subprocess.PIPE, text=True)
        for name in ("p0", "p1")
    ]
    cache = JudgementCache(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.put(f"t {i}", i / 100), range(100)))
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (0, "")
    assert [cache.get(f"t {i}") for i in range(100)] == [i / 100 for i in range(100)]
    for name in ("p0", "p1", "shared"):
        assert [cache.get(f"{name} {i}") for i in range(40)] == [i / 40 for i in range(40)]
    assert not caplog.records


@pytest.mark.parametrize("content", [b"id,score\n" * 200, None], ids=["no database", "a folder"])
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path, content) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(ValueError, match=r"scores.csv.*give another file"):
        JudgementCache(path)
    assert path.is_dir() if content is None else path.read_bytes() == content


def test_another_database_is_refused(tmp_path) -> None:
    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE judgements (id INTEGER)")
    connection.close()
    with pytest.raises(ValueError, match="no such column"):
        JudgementCache(path)


def test_a_cache_that_breaks_later_is_logged_and_forgets(tmp_path, caplog) -> None:
    path = tmp_path / "judgements.sqlite3"
    cache = JudgementCache(path)
    path.write_bytes(b"not a database any more " * 100)
    cache.put("a", 1.0)
    assert cache.get("a") is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "judgements.sqlite3 cannot be written" in caplog.text


@pytest.mark.parametrize("damaged", [2.0, -0.1, "abc", b"1", float("inf")])
def test_what_is_no_score_is_told_and_asked_for_again(tmp_path, caplog, damaged) -> None:
    path = tmp_path / "judgements.sqlite3"
    cache = JudgementCache(path)
    cache.put("kept", 1.0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO judgements VALUES ('a', ?)", (damaged,))
    assert cache.get("a") is None
    assert "judgements.sqlite3 holds" in caplog.text
    assert "must be from 0 to 1" in caplog.text
    cache.put("a", 0.5)
    assert (cache.get("a"), cache.get("kept")) == (0.5, 1.0)
