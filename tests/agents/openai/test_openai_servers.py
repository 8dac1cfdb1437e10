"""Servers that break down: what is retried, what is not, and what is said in the end."""

import asyncio
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.agents.openai.servers import RefusedError, retry_after_seconds
from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import install_command
from tests.servers.faulty import FaultyServer, state_of


def ask(server, episode, **kwargs):
    url = server if isinstance(server, str | list) else server.url
    (reply,) = OpenAIAgent("tiny", url, **kwargs).act([episode])
    if isinstance(reply, AgentError):
        raise reply
    return reply.message


def numbered(episode, number):
    """Tell episodes apart: as conversations, and as what the server is asked."""
    prompt = replace(episode.prompt, text=f"{episode.prompt.text} ({number})")
    return replace(episode, prompt=prompt, metadata={"episode": number})


@pytest.mark.parametrize("fault", ["drop", "429", "500", "503", "half", "garbled"])
def test_what_may_pass_is_asked_again_until_it_does(begin, fault):
    with FaultyServer(faults=[fault, fault]) as server:
        assert ask(server, begin()) == "<answer>A</answer>"
    assert list(server.asked.values()) == [3]
    assert list(server.answered.values()) == [1]


@pytest.mark.integration
def test_a_server_that_hangs_is_left_after_the_timeout(begin):
    with FaultyServer(faults=["hang"]) as server:
        assert ask(server, begin(), timeout=1) == "<answer>A</answer>"
    assert len(server.requests) >= 2


@pytest.mark.integration
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("drop", "lost the connection"),
        ("500", "answered 500: Internal error"),
        ("garbled", "something else than a chat completion"),
        ("hang", "no answer within 0.5 s; raise the timeout"),
    ],
)
def test_one_clear_error_at_the_end(begin, fault, words):
    with FaultyServer(faults=[fault] * 9) as server, pytest.raises(AgentError) as error:
        ask(server, begin(), retries=2, timeout=0.5 if fault == "hang" else 60)
    assert len(server.requests) == 3
    assert f"no answer from {server.url} after 3 attempts" in str(error.value)
    assert words in str(error.value)


def test_retry_after_is_obeyed(begin):
    with FaultyServer(faults=["429"], retry_after=0.4) as server:
        start = time.monotonic()
        ask(server, begin())
        assert time.monotonic() - start >= 0.4


@given(st.one_of(st.text(), st.sampled_from(["120", "0.5", "-3", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "inf"])))
def test_any_retry_after_is_a_number_of_seconds(header):
    assert retry_after_seconds(header) >= 0


def test_retry_after_may_be_a_date():
    assert 50 < retry_after_seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=60))) <= 60


def test_nobody_listens(begin):
    with FaultyServer() as server:
        pass
    with pytest.raises(AgentError, match=f"there is no server at {server.url} .*; start one, or give the base URL"):
        ask(server, begin(), retries=1)
    with pytest.raises(AgentError, match=f"there is no server at {server.url}"):
        OpenAIAgent("tiny", server.url).check()


def test_a_model_that_is_not_served_is_named_with_those_that_are_and_asked_for_once(begin):
    with FaultyServer(models=("qwen", "intern")) as server:
        for try_it in (lambda: ask(server, begin()), OpenAIAgent("tiny", server.url).check):
            with pytest.raises(RefusedError, match="it does not serve 'tiny' but: qwen, intern"):
                try_it()
    assert len(server.requests) == 2


def test_a_server_that_lists_nothing_is_asked_whether_it_answers():
    with FaultyServer(models=("tiny",)) as server:
        OpenAIAgent("tiny", server.url).check()
        assert server.requests == []
        server.listed = ()
        OpenAIAgent("tiny", server.url).check()
        assert server.requests[0]["max_tokens"] == 1


def test_a_connection_that_was_closed_behind_the_list_of_models_is_opened_again():
    with FaultyServer() as server:
        server.listed = None
        for _ in range(5):
            OpenAIAgent("tiny", server.url).check()
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (400, "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead.", "--max-tokens none"),
        (400, "Unsupported value: 'temperature' does not support 0.0 with this model.", "--temperature none"),
        (400, "Unexpected keys in the request: {'stop'}", "--no-stop"),
        (400, "At most 1 image(s) may be provided in one prompt.", "--limit-mm-per-prompt"),
        (500, "Internal Server Error", "--no-stop"),
    ],
)
def test_a_refusal_comes_with_its_remedy(begin, status, words, advice):
    with FaultyServer(refuses=lambda request: (status, words)) as server, pytest.raises(AgentError, match=advice):
        ask(server, begin(), retries=1)


def test_a_failure_without_stop_strings_is_not_blamed_on_them(begin):
    with (
        FaultyServer(refuses=lambda request: (500, "broken")) as server,
        pytest.raises(AgentError, match="broken") as raised,
    ):
        ask(server, begin(), retries=0, stop=())
    assert "stop" not in str(raised.value)


def test_a_server_that_breaks_on_the_question_is_there(caplog):
    with FaultyServer(faults=lambda state, attempt: "500") as server:
        server.listed = ()
        OpenAIAgent("tiny", server.url).check()
    assert "answered 500" in caplog.text


def test_a_base_url_that_lacks_its_end(begin):
    with FaultyServer() as server, pytest.raises(RefusedError, match="does the base URL end in /v1"):
        ask(server.url.removesuffix("/v1"), begin())


def test_keys(begin, monkeypatch):
    with FaultyServer(key="secret") as server:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(RefusedError, match="401.*OPENAI_API_KEY"):
            ask(server, begin())
        assert ask(server, begin(), api_key="secret") == "<answer>A</answer>"
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        assert ask(server, begin()) == "<answer>A</answer>"


def test_no_more_requests_are_in_flight_than_allowed(begin):
    together = threading.Barrier(3)

    def slow(request):
        together.wait(60)
        return "<answer>A</answer>"

    episodes = [numbered(begin(), number) for number in range(12)]
    with FaultyServer(slow) as server:
        assert len(OpenAIAgent("tiny", server.url, concurrency=3).act(episodes)) == 12
    assert server.peak == 3


def test_servers_share_conversations_and_keep_them(begin):
    episodes = [numbered(begin(), number) for number in range(8)]
    with FaultyServer() as one, FaultyServer() as two:
        agent = OpenAIAgent("tiny", [one.url, two.url])
        for _ in range(3):
            agent.act(episodes)
    assert [len(one.asked), len(two.asked)] == [4, 4]
    assert set(one.asked.values()) | set(two.asked.values()) == {3}


def test_a_dead_server_costs_nothing_while_another_lives(begin):
    with FaultyServer() as dead:
        pass
    with FaultyServer() as alive:
        replies = OpenAIAgent("tiny", [dead.url, alive.url], retries=1).act(
            [numbered(begin(), number) for number in range(6)]
        )
    assert {reply.message for reply in replies} == {"<answer>A</answer>"}
    assert set(alive.answered.values()) == {1}


def test_when_all_are_dead_all_are_named(begin):
    with FaultyServer() as one, FaultyServer() as two:
        pass
    with pytest.raises(AgentError) as error:
        ask([one.url, two.url], begin(), retries=2)
    assert one.url in str(error.value)
    assert two.url in str(error.value)


def test_event_loops_come_and_go_and_no_connection_is_left_open(begin, monkeypatch):
    opened, writers = asyncio.open_connection, []

    async def noted(*args, **kwargs):
        reader, writer = await opened(*args, **kwargs)
        writers.append(writer)
        return reader, writer

    monkeypatch.setattr(asyncio, "open_connection", noted)
    with FaultyServer() as server:
        agent = OpenAIAgent("tiny", server.url)
        assert [agent.act([begin()])[0].message for _ in range(3)] == ["<answer>A</answer>"] * 3

        async def in_a_running_loop():
            return agent.act([begin()])

        assert len(asyncio.run(in_a_running_loop())) == 1
    assert server.asked[state_of(server.requests[0])] == 4
    assert [writer.is_closing() for writer in writers] == [True] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"timeout": 0},
        {"retries": -1},
        {"base_url": "127.0.0.1:8000"},
        {"base_url": []},
        {"image_format": "gif"},
        {"quality": 0},
        {"tool_images": "nowhere"},
        {"stop": "</tool_call>"},
    ],
)
def test_wrong_arguments_are_named_at_once(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OpenAIAgent("tiny", **wrong)


@pytest.mark.integration
def test_the_package_is_asked_for_only_when_an_agent_is_made(monkeypatch):
    code = "import sys, deepeyes_env.agents.openai; print('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("openai"))):
        OpenAIAgent("tiny")


def test_json_too_deep_to_read_is_an_attempt_that_failed(begin):
    class Deep(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"choices":' + b"[" * 200_000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Deep) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        agent = OpenAIAgent("tiny", f"http://127.0.0.1:{server.server_port}/v1", retries=1)
        (error,) = agent.act([begin()])
        server.shutdown()
    assert isinstance(error, AgentError)
    assert "after 2 attempts" in str(error)
