"""Requests without TLS against sockets that say what they like, and the way round proxies."""

import asyncio
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.agents.openai.plain_http import PlainConnection, is_plain

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Talker:
    """A server that gives a connection the next of its sayings for each request, and closes it after the last.

    It hears a request to its end, or only its head.
    """

    def __init__(self, *connections, patient=True):
        self.heard, self.connections, self._patient = [], 0, patient
        self._sayings = connections
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def _talk(self):
        for sayings in self._sayings:
            connection, _ = self._listening.accept()
            self.connections += 1
            with connection:
                for saying in sayings:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(2**16)
                    self.heard.append(head)
                    told = re.search(rb"Content-Length: (\d+)", head)
                    left = int(told[1]) - len(head.partition(b"\r\n\r\n")[2]) if told and self._patient else 0
                    while left > 0:
                        left -= len(connection.recv(2**16))
                    connection.sendall(saying)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(30)
        self._listening.close()


def ask(url, times=1, pieces=()):
    async def all_of_them():
        connection = PlainConnection(url, {"Authorization": "Bearer key"}, 10)
        try:
            return [await connection.request("POST" if pieces else "GET", "/models", pieces) for _ in range(times)]
        finally:
            connection.close()

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(
    "saying",
    [
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.0 200 Fine\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_whatever_way_a_body_comes_it_is_whole(saying):
    with Talker([saying]) as server:
        (response,) = ask(server.url)
    assert (response.status, response.content) == (200, b"hi")
    assert b"GET /v1/models HTTP/1.1" in server.heard[0]
    assert b"Authorization: Bearer key" in server.heard[0]
    assert server.url.split("/")[2].encode() in server.heard[0]


def test_a_connection_is_kept_and_opened_again_when_the_server_closes_it():
    closing = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    with Talker([OK, OK, closing], [OK]) as server:
        assert [response.content for response in ask(server.url, 4)] == [b"hi"] * 4
    assert server.connections == 2


def test_a_body_goes_out_in_its_pieces_and_an_error_is_an_answer():
    with Talker([b"HTTP/1.1 404 Not Found\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"]) as server:
        (response,) = ask(server.url, pieces=(b'{"a":', b"1}"))
    assert (response.status, response.headers["retry-after"], response.content) == (404, "3", b"")
    assert b"Content-Length: 7" in server.heard[0]


@pytest.mark.parametrize(
    "saying", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", b"SSH-2.0-OpenSSH\r\n", b"\xff" * 2**18]
)
def test_what_is_cut_off_or_no_http_is_a_lost_connection(saying):
    with Talker([saying]) as server, pytest.raises(ConnectionResetError):
        ask(server.url)


def test_a_server_that_hangs_up_while_it_is_spoken_to_is_a_lost_connection():
    with Talker([b""], patient=False) as server, pytest.raises(ConnectionResetError):
        ask(server.url, pieces=(b" " * 2**24, b"1"))


def test_nobody_listens_and_nobody_is_known():
    with Talker() as server:
        pass
    for url in (server.url, "http://nobody.invalid/v1", f"http://{'x' * 99}.invalid/v1"):
        with pytest.raises(ConnectionRefusedError):
            ask(url)


@pytest.mark.parametrize(
    ("url", "proxy", "plain"),
    [
        ("http://gpu-7:8000/v1", "", True),
        ("https://gpu-7:8000/v1", "", False),
        ("http://gpu-7:8000/v1", "http_proxy", False),
        ("http://gpu-7:8000/v1", "all_proxy", False),
        ("http://user:word@localhost:8000/v1", "http_proxy", True),
        ("http://inside.example:8000/v1", "http_proxy", True),
    ],
)
def test_servers_behind_a_proxy_or_tls_are_left_to_the_client(monkeypatch, url, proxy, plain):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "inside.example")
    if proxy:
        monkeypatch.setenv(proxy, "http://proxy:3128")
    assert is_plain(url) is plain


class Proxy(BaseHTTPRequestHandler):
    """Answers in the place of the servers that it is asked for."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        refused = len(self.server.asked) == 1
        said = b'{"error": {"message": "busy"}}' if refused else b'{"choices": [{"message": {"content": "A"}}]}'
        self.send_response(503 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args):
        """Say nothing."""


def test_a_proxy_is_asked_where_the_environment_names_one(begin, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        proxy.asked = []
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        (reply,) = OpenAIAgent("tiny", "http://far.invalid/v1", retries=1).act([begin()])
        proxy.shutdown()
    assert reply.message == "A"
    assert proxy.asked == ["http://far.invalid/v1/chat/completions"] * 2
