"""The original's HTTP form: a client and a server of ours, over real connections, which may break."""

import json
import random
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepeyes_env.errors import UsageError
from deepeyes_env.sandbox import Limits, Session
from deepeyes_env.sandbox.http import HTTPSandbox, SandboxServer
from deepeyes_env.sandbox.http.server import SandboxHandler
from tests.conftest import pattern
from tests.sandbox.conftest import frozen


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server(sandbox):
    with serving(SandboxServer(sandbox=sandbox, limits=Limits(cell_seconds=10))) as started:
        yield started


def test_a_session_is_as_one_on_this_machine(server, session):
    program = "import matplotlib.pyplot as plt\nprint(image_1.size)\nimage_1.crop((0, 0, 9, 8))"
    with Session([frozen(pattern(64, 48))], sandbox=HTTPSandbox(server.url)) as far:
        for code in (program, "print(image_2.size)\n1 / 0", "x = 1", "  print(x)"):
            assert far.run(code).same_output(session.run(code))
        assert far.images == session.images == 2


def test_the_original_form(server):
    def post(path, **body):
        request = urllib.request.Request(server.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    reply = post("/jupyter_sandbox", session_id="a", code="x = 2\nx", timeout=5)
    assert reply["status"] == "success"
    assert {name: reply["output"][name] for name in ("result", "stdout", "stderr", "images")} == {
        "result": "2",
        "stdout": "Out[0]: 2\n",
        "stderr": "",
        "images": [],
    }
    assert "NameError" in post("/jupyter_sandbox", session_id="b", code="x", timeout=5)["output"]["stderr"]
    post("/clear_session", session_id="a")
    assert "NameError" in post("/jupyter_sandbox", session_id="a", code="x", timeout=5)["output"]["stderr"]


class Dropping(SandboxHandler):
    """Loses 30 % of the requests: half of them before they run, half of the replies."""

    chance = random.Random(3)
    dropped = 0

    def do_POST(self):
        if self.path == "/jupyter_sandbox" and self.chance.random() < 0.15:
            self.rfile.read(int(self.headers["Content-Length"]))
            return self.drop()
        return super().do_POST()

    def answer(self, status, reply):
        if self.path == "/jupyter_sandbox" and self.chance.random() < 0.15:
            return self.drop()
        return super().answer(status, reply)

    def drop(self):
        type(self).dropped += 1
        self.close_connection = True


@pytest.mark.integration
def test_a_server_that_drops_requests_runs_each_cell_once(sandbox):
    with serving(SandboxServer(sandbox=sandbox)) as server:
        server.RequestHandlerClass = Dropping
        with Session(sandbox=HTTPSandbox(server.url)) as session:
            session.run("n = 0")
            for number in range(1, 25):
                assert session.run("n += 1\nprint(n)").stdout == f"{number}\n"
        assert Dropping.dropped > 2


def test_another_server_that_drops_replies_is_told():
    class Original(BaseHTTPRequestHandler):
        sent = 0

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            type(self).sent += 1
            if self.sent == 1:
                self.close_connection = True
                return
            output = {"result": "None", "stdout": "1\n", "stderr": "", "images": [], "debug_info": {}}
            data = json.dumps({"status": "success", "execution_time": 0.1, "output": output}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Original)) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        got = Session(sandbox=HTTPSandbox(url)).run("print(1)")
    assert (got.stdout, got.result) == ("1\n", None)
    assert got.notes == ("the code server was asked 2 times, and may have run the cell more than once",)


def test_a_server_that_is_not_there_is_told():
    got = Session(sandbox=HTTPSandbox("http://127.0.0.1:9", tries=1)).run("1")
    assert (got.error, got.ended) == ("killed", True)
    assert "did not answer" in got.stderr


def test_a_token_is_asked_for(sandbox):
    with serving(SandboxServer(sandbox=sandbox, token="open sesame")) as server:
        assert "status 401" in Session(sandbox=HTTPSandbox(server.url)).run("1").stderr
        assert Session(sandbox=HTTPSandbox(server.url, token="open sesame")).run("1").result == "1"


def test_a_url_is_needed(monkeypatch):
    monkeypatch.delenv("DEEPEYES_SANDBOX_URL", raising=False)
    with pytest.raises(UsageError, match="DEEPEYES_SANDBOX_URL"):
        HTTPSandbox()
