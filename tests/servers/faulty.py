"""FaultyServer: a real HTTP server on 127.0.0.1 that speaks chat completions, and breaks down when it is told to.

with FaultyServer(reply=lambda request: "<answer>A</answer>", faults=random_faults({"drop": 0.1, "429": 0.1})) as s:
    ...  # s.url is the base URL; afterwards s.asked, s.answered, s.given and s.requests say what happened
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

Fault: TypeAlias = Literal["drop", "429", "500", "503", "hang", "half", "garbled"]
"""``drop``: the connection is closed without a word. ``429``, ``503``: with Retry-After. ``hang``: nothing comes, ever.
``half``: the connection is cut in the middle of the body. ``garbled``: half a JSON as if it were whole."""

Request: TypeAlias = dict[str, Any]
Reply: TypeAlias = Callable[[Request], "str | Mapping[str, Any]"]
"""Given the body of a request: the text of the answer, an assistant message, or a whole choice (with ``message``)."""

FaultScript: TypeAlias = "Sequence[Fault | None] | Callable[[str, int], Fault | None]"
"""Faults of the first requests, in the order in which they come; or a function of conversation state and attempt."""


def state_of(request: Request) -> str:
    """Name a conversation state: equal model and messages have equal names."""
    told = json.dumps([request.get("model"), request.get("messages")], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def random_faults(rates: Mapping[Fault, float], seed: int = 0) -> Callable[[str, int], Fault | None]:
    """Draw faults at random, for each state and attempt the same whatever the order of requests."""

    def draw(state: str, attempt: int) -> Fault | None:
        dice = random.Random(f"{seed} {state} {attempt}").random()
        for fault, rate in rates.items():
            dice -= rate
            if dice < 0:
                return fault
        return None

    return draw


class FaultyServer:
    """Answers ``/v1/chat/completions`` and ``/v1/models``, each connection in a thread of its own.

    Stop strings are honoured as OpenAI does: the text ends before them.

    Attributes:
        asked: How often each conversation state was asked for (see ``state_of``).
        answered: How often it was answered in full.
        given: How many faults of each kind were given.
        requests: Bodies of all requests, in order of arrival.
        headers: Their headers.
        peak: Most requests that were in progress at once.
        listed: Names that ``/v1/models`` gives; those of ``models`` unless a test changes it. ``None``: it answers 500
            and closes the connection without saying so, as ``transformers serve`` does.

    Args:
        reply: What to answer.
        faults: When to break down.
        models: Names of the models that are served; a request for another one is answered by 404.
        retry_after: Seconds in the Retry-After of 429 and 503.
        tool_images: Whether images are allowed in tool messages; otherwise such a request is answered by 400.
        key: API key to demand; ``None`` takes any.
        refuses: Given a request, status and message to refuse it with; ``None`` to take it.
    """

    def __init__(
        self,
        reply: Reply = lambda request: "<answer>A</answer>",
        faults: FaultScript = (),
        *,
        models: Sequence[str] = ("tiny",),
        retry_after: float = 0.02,
        tool_images: bool = True,
        key: str | None = None,
        refuses: Callable[[Request], tuple[int, str] | None] = lambda request: None,
    ) -> None:
        self.reply = reply
        self.models = tuple(models)
        self.listed: tuple[str, ...] | None = self.models
        self.retry_after = retry_after
        self.tool_images = tool_images
        self.key = key
        self.refuses = refuses
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.peak = 0
        self.closing = threading.Event()
        self._faults = faults
        self._lock = threading.Lock()
        self._in_progress = 0
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL, ending in ``/v1``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: from now on nobody listens at the URL, and hanging requests end."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def begin(self, request: Request, headers: Mapping[str, str]) -> Fault | None:
        """Count a request and say what goes wrong with it."""
        state = state_of(request)
        with self._lock:
            number, attempt = len(self.requests), self.asked[state]
            self.asked[state] += 1
            self.requests.append(request)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self._in_progress += 1
            self.peak = max(self.peak, self._in_progress)
            if callable(self._faults):
                fault = self._faults(state, attempt)
            else:
                fault = self._faults[number] if number < len(self._faults) else None
            if fault:
                self.given[fault] += 1
        return fault

    def end(self, request: Request, *, answered: bool) -> None:
        """Count a request as done with."""
        with self._lock:
            self._in_progress -= 1
            self.answered[state_of(request)] += answered

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return status and message for a request that a server would not take."""
        if request.get("model") not in self.models:
            return 404, f"The model `{request.get('model')}` does not exist."
        told = request["messages"]
        if not self.tool_images and any(m["role"] == "tool" and "image_url" in json.dumps(m) for m in told):
            return 400, "Invalid content type. image_url is only supported in user messages."
        return self.refuses(request)

    def completion(self, request: Request) -> dict[str, Any]:
        """Return the body of an answer."""
        said = self.reply(request)
        choice = {"message": said} if isinstance(said, str) or "message" not in said else dict(said)
        message = choice["message"]
        message = {"content": message} if isinstance(message, str) else dict(message)
        stops = request.get("stop") or []
        if isinstance(message.get("content"), str):
            message["content"] = _cut(message["content"], [stops] if isinstance(stops, str) else stops)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        filled = {"index": 0, "finish_reason": reason, **choice, "message": {"role": "assistant", **message}}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [filled],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }


def _cut(text: str, stops: Sequence[str]) -> str:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    owner: FaultyServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of the server's business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        owner = self.server.owner
        if self.path != "/v1/models":
            return self._error(404, "Not Found")
        if owner.listed is None:
            self._error(500, "Internal error.")
            self.close_connection = True
            return None
        models = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in owner.listed]
        return self._send(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        owner = self.server.owner
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._error(404, "Not Found")
        if owner.key is not None and self.headers.get("Authorization") != f"Bearer {owner.key}":
            return self._error(401, "Incorrect API key provided.")
        fault = owner.begin(request, self.headers)
        refused = owner.refusal(request)
        if fault == "hang":
            owner.closing.wait(60)
        answer = None if fault or refused else owner.completion(request)
        owner.end(request, answered=answer is not None)  # before the client can know
        if fault:
            self._break_down(fault, request)
        elif refused:
            self._error(*refused)
        else:
            self._send(200, answer)
        return None

    def _break_down(self, fault: Fault, request: Request) -> None:
        owner = self.server.owner
        if fault in ("429", "503"):
            return self._error(int(fault), "Slow down.", {"Retry-After": f"{owner.retry_after:g}"})
        if fault == "500":
            return self._error(500, "Internal error.")
        if fault in ("half", "garbled"):
            body = json.dumps(owner.completion(request)).encode()
            half = body[: len(body) // 2]
            self._write(200, half, length=len(body) if fault == "half" else len(half))
        if fault != "garbled":
            self.close_connection = True
        return None

    def _error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": "error", "code": status}}, headers)

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self._write(status, json.dumps(body).encode(), headers=headers)

    def _write(
        self, status: int, body: bytes, *, length: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
