"""Text search: a folder of documents, and a server that fails as servers do."""

import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env import ToolCall, ToolResult, UsageError
from deepeyes_env.errors import ArgumentError, DataError, ToolError
from deepeyes_env.protocols import get_protocol
from deepeyes_env.tools import SearchTool
from deepeyes_env.tools.search import (
    FolderSearch,
    HTTPSearch,
    SearchError,
    WebResult,
    get_search,
    search_observation,
)
from deepeyes_env.tools.search.endpoint import found
from tests.conftest import read_golden

DOCUMENTS = {
    "cities/paris.md": "# Paris\n\nParis is the capital of France. It lies on the Seine.\n",
    "cities/rome.txt": "Rome\nRome is the capital of Italy and lies on the Tiber.\n",
    "bridges.txt": "Bridges\n" + "Filler about stone and iron. " * 200 + "The Golden Gate bridge opened in 1937.\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in DOCUMENTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    rows = [{"title": "Oslo", "text": "Oslo is the capital of Norway.", "link": "https://example.org/oslo"}]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("query", "link"),
    [
        ("capital of France", "cities/paris.md"),
        ("What is Italy's capital?", "cities/rome.txt"),
        ("when did the golden gate BRIDGE open", "bridges.txt"),
        ("Norway capitals", "https://example.org/oslo"),
    ],
)
def test_a_fact_is_found_in_a_folder(folder, query, link):
    first, *_ = FolderSearch(folder).search(query)
    assert first.link == link
    assert "<" not in first.snippet


def test_a_snippet_is_what_fits_and_short(folder):
    (result,) = FolderSearch(folder).search("1937", count=3)
    assert "opened in 1937" in result.snippet
    assert len(result.snippet) < 600
    assert result.title == "Bridges"


def test_a_folder_search_travels_and_serves_threads(folder):
    search = pickle.loads(pickle.dumps(FolderSearch(folder)))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(search.search("capital"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 3


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "a.txt").write_text("a NEAR b", encoding="utf-8")
    return FolderSearch(folder)


@settings(max_examples=25)
@given(query=st.text() | st.sampled_from(["NEAR", "a AND", '"', "a*", "title: a", "-", "NOT b"]))
def test_whatever_is_searched_for_nothing_breaks(query, small):
    assert len(small.search(query)) <= 1


def test_folders_without_documents_are_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        FolderSearch(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no .txt, .md, .jsonl files"):
        get_search(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"title": 1}', encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl#1: needs title and text"):
        FolderSearch(tmp_path).search("x")


def test_what_is_found_is_told_in_the_original_s_words():
    record = next(r for r in read_golden("deepeyes_v2_execute.jsonl") if r["kind"] == "search")
    query = "capital of France"
    snippet = f"This is a placeholder snippet for query: {query}"
    results = [WebResult(f"Placeholder Title {n}", f"http://example.com/{n}", snippet) for n in range(5)]
    result = ToolResult(ToolCall("search", {"query": query}), text=search_observation(query, results))
    assert f"user\n{get_protocol('deepeyes_v2').reply([result], 0)}<|im_end|>" in record["obs"]
    dated = search_observation("q", [WebResult("T", "l", "s", "2024"), WebResult("U", "m")])
    assert dated.endswith("1. [T](l)\nDate published: 2024\n\ns\n\n2. [U](m)\n")


class Server(ThreadingHTTPServer):
    """Fails as told, and notes what it was asked."""

    daemon_threads = True
    fails = ()
    asked = ()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(parse_qs(urlsplit(self.path).query)["q"][0])

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"])

    def answer(self, query):
        self.server.asked.append((query, time.monotonic(), self.headers.get("X-Key")))
        status = self.server.fails.pop(0) if self.server.fails else 200
        if status == "drop":
            self.connection.close()
            return
        rows = [{"title": f"About {query}", "url": "https://example.org", "content": "Here."}, {"title": "no link"}]
        body = json.dumps({"query": query, "number": len(self.server.asked), "results": rows}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body if status == 200 else b"no")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as made:
        made.fails, made.asked = [], []
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def url(server, path="/?q={query}&n={count}"):
    return f"http://127.0.0.1:{server.server_port}{path}"


@pytest.mark.parametrize("path", ["/?q={query}&n={count}", "/search"])
def test_a_server_is_asked_until_it_answers(server, path):
    server.fails += [503, "drop", 429]
    search = HTTPSearch(url(server, path), headers={"X-Key": "k"}, per_second=1000)
    assert search.search("a&b=ü") == [WebResult("About a&b=ü", "https://example.org", "Here.")]
    assert [(query, key) for query, _, key in server.asked] == [("a&b=ü", "k")] * 4


def test_answers_are_kept_on_disk(server, tmp_path):
    file = tmp_path / "searches.sqlite"
    search = HTTPSearch(url(server), cache=file, per_second=1000)
    first = search.search("q")
    assert pickle.loads(pickle.dumps(search)).search("q") == first
    offline = HTTPSearch(url(server), cache=file, offline=True)
    assert offline.search("q") == first
    assert len(server.asked) == 1
    with pytest.raises(SearchError, match="offline"):
        offline.search("another")


def test_a_failure_is_told_and_not_kept(server, tmp_path):
    server.fails += [404]
    search = HTTPSearch(url(server), cache=tmp_path / "c.sqlite", per_second=1000)
    with pytest.raises(SearchError, match=r"does not answer \(status 404\)"):
        search.search("q")
    assert len(server.asked) == 1
    assert search.search("q")


def test_requests_are_spread(server):
    search = HTTPSearch(url(server), per_second=50)
    start = time.monotonic()
    for number in range(4):
        search.search(str(number))
    assert server.asked[-1][1] - start >= 0.06


@pytest.mark.parametrize(
    "reply",
    [
        {"elapsed_time": 1.0, "data": [{"title": "T", "link": "L", "snippet": "S", "date": "D"}]},
        {"organic": [{"title": "T", "link": "L", "snippet": "S", "date": "D"}]},
        {"web": {"results": [{"title": "T", "url": "L", "description": "S", "page_age": "D"}]}},
        {"webPages": {"value": [{"name": "T", "url": "L", "snippet": "S", "datePublished": "D"}]}},
        [{"title": "T", "href": "L", "body": "S", "date": "D"}],
    ],
)
def test_forms_of_many_servers_are_read(reply):
    assert list(found(reply)) == [WebResult("T", "L", "S", "D")]


@pytest.mark.parametrize("reply", [None, 3, {}, {"results": []}, {"results": [{"title": 3, "link": None}, "x"]}])
def test_a_reply_without_results_has_none(reply):
    assert list(found(reply)) == []


def test_wrong_settings_are_told():
    for arguments, told in (({"url": "ftp://x"}, "begins with http"), ({"url": "http://x", "offline": True}, "cache")):
        with pytest.raises(UsageError, match=told):
            HTTPSearch(**arguments)


def test_the_tool_searches_what_the_environment_says(folder, monkeypatch, caplog):
    monkeypatch.delenv("DEEPEYES_SEARCH", raising=False)
    tool = SearchTool()
    with pytest.raises(ToolError, match="nothing to search"):
        tool("q")
    assert "set DEEPEYES_SEARCH" in caplog.text
    monkeypatch.setenv("DEEPEYES_SEARCH", str(folder))
    assert "[Paris](cities/paris.md)" in tool("capital of France").text
    assert SearchTool(folder)("zebra").text == "A Google search for 'zebra' found 0 results:\n\n## Web Results\n"
    for query in (" ", "q" * 1001):
        with pytest.raises(ArgumentError, match="query"):
            tool(query)
