"""Tools of a server that is made with the SDK, over HTTP and over pipes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deepeyes_env import ToolServerError
from tests.mcp import sdk_server


@pytest.fixture
def url(serve, tmp_path, monkeypatch):
    """Serve over HTTP; returns where, by the kind of its replies."""
    monkeypatch.setattr(sys, "argv", ["sdk_server.py", str(tmp_path)])

    def url(**options):
        port, _ = serve(sdk_server.make().streamable_http_app(**options))
        return f"http://127.0.0.1:{port}/mcp"

    return url


REPLIES = pytest.mark.parametrize("json", [False, True], ids=["events", "json"])


@REPLIES
def test_over_http(play, call, url, json):
    env = play(url(json_response=json))
    result, _ = call(env, "add", a=3)
    assert result.text == "5"
    assert call(env, "add", a="3")[0].status == "bad_arguments"
    result, _ = call(env, "draw", side=64)
    assert (result.text, result.images[0].size) == ("a square", (64, 64))
    assert result.images[0].pixels()[0, 0].tolist() == [200, 100, 0]
    result, over = call(env, "fail")
    assert (result.status, result.error, over) == ("failed", "Error executing tool fail", False)
    result, over = call(env, "large", megabytes=9)
    assert (result.error, over) == ("large failed: the result is larger than 8 MB; ask for less", False)
    assert len(call(env, "large", megabytes=3)[0].text) == 3_000_000


@pytest.mark.integration
def test_a_call_over_http_takes_too_long(play, call, url):
    env = play(url(), timeout=1.0)
    started = time.monotonic()
    result, over = call(env, "wait", seconds=60)
    assert (result.error, over) == ("wait did not return within 1 seconds", True)
    assert time.monotonic() - started < 30
    env.reset(seed=1)
    assert call(env, "wait", seconds=0)[0].text == "waited"


@pytest.mark.integration
def test_a_server_over_http_that_is_gone_and_comes_back(play, call, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sdk_server.py", str(tmp_path)])
    port, stop = serve(sdk_server.make().streamable_http_app())
    url = f"http://127.0.0.1:{port}/mcp"
    env, shared = play(url), play(url, session="shared")
    assert call(env, "add", a=1)[0].ok
    assert call(shared, "add", a=1)[0].ok
    stop()
    for each in (env, shared):
        result, over = call(each, "add", a=1)
        assert (result.status, over) == ("failed", False)
    serve(sdk_server.make().streamable_http_app(), port)
    assert [call(shared, "add", a=1)[0].ok for _ in range(2)][1]
    env.reset(seed=1)
    assert call(env, "add", a=1)[0].ok


def test_nobody_is_there(play):
    with pytest.raises(ToolServerError, match="http://127.0.0.1:9/mcp cannot be reached"):
        play("http://127.0.0.1:9/mcp")


@pytest.mark.slow
def test_over_pipes(play, call, tmp_path):
    env = play([sys.executable, str(Path(sdk_server.__file__)), str(tmp_path)], timeout=60.0)
    assert call(env, "add", a=3)[0].text == "5"
    assert [call(env, "note", line=each)[0].text for each in "ab"] == ["a", "a b"]
    assert call(env, "draw", side=64)[0].images[0].size == (64, 64)
    assert call(env, "large", megabytes=50)[0].error == "large failed: the result is larger than 8 MB; ask for less"
    assert call(env, "add", a=4)[0].text == "6"
    env.reset(seed=1)
    assert call(env, "note", line="c")[0].text == "c"
