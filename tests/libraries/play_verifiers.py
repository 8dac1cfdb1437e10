"""verifiers' vf-eval plays three questions of examples/verifiers_taskset.py, twice each, against a local server."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.libraries.episode import ANSWER, ZOOM, shape_of

ROOT = Path(__file__).parents[2]
requests = []


class Server(BaseHTTPRequestHandler):
    """Chat completions as a stream: a zoom first, then an answer."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        requests.append(request)
        said = ANSWER if any(message["role"] == "assistant" for message in request["messages"]) else ZOOM
        head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
        first = {"index": 0, "delta": {"role": "assistant", "content": said}, "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        chunks = [{**head, "choices": [first]}, {**head, "choices": [last]}, {**head, "choices": [], "usage": usage}]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for chunk in [*map(json.dumps, chunks), "[DONE]"]:
            self.wfile.write(f"data: {chunk}\n\n".encode())

    def log_message(self, *_):
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
command = [
    *(str(Path(sys.executable).with_name("vf-eval")), "verifiers-taskset", "-n", "3", "-r", "2", "-m", "local"),
    *("--client.base-url", f"http://127.0.0.1:{server.server_port}/v1", "--client.api-key-var", "NO_KEY"),
    *("--no-push", "-o", "runs", "--run.dir", "here", "--env.policy.runtime.type", "subprocess"),
]
modules = os.pathsep.join([str(ROOT / "examples"), str(ROOT)])
programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # uv is one
settings = {**os.environ, "PYTHONPATH": modules, "PATH": programs}
ran = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=600)
server.shutdown()
if ran.returncode:
    sys.exit(f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
episodes = [json.loads(line) for path in Path("runs").rglob("traces.jsonl") for line in path.read_text().splitlines()]
traces = [
    {key: trace[key] for key in ("rewards", "metrics", "errors")} for each in episodes for trace in each["traces"]
]
asked = [shape_of([message for message in request["messages"] if message["role"] == "user"]) for request in requests]
print(json.dumps({"asked": asked, "traces": traces}))
