"""A code server that many trainers can share, in the form of the original's."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from deepeyes_env.images import codec
from deepeyes_env.sandbox.http.client import CLEAR, RUN
from deepeyes_env.sandbox.kernel import CellResult, Limits, SandboxError
from deepeyes_env.sandbox.registry import SandboxLike, get_sandbox
from deepeyes_env.sandbox.session import Session

MAX_BODY = 64 << 20
DEFAULT_TIMEOUT = 5.0
"""Seconds of a cell whose request names none, as in the original."""
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A session of the server."""

    session: Session
    used: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    request: str = ""
    reply: dict[str, Any] = field(default_factory=dict)


class SandboxServer(ThreadingHTTPServer):
    """Serves ``POST /jupyter_sandbox`` and ``POST /clear_session``; call ``serve_forever``.

    A request with a ``request_id`` that was answered before gets the same answer, and nothing runs.

    Args:
        address: ``(host, port)``; port 0 takes a free one.
        sandbox: Where programs run.
        limits: What a session may use; a request may ask for less time a cell, not for more.
        token: What requests have to bring as ``Authorization: Bearer``; empty asks for none.
        idle_seconds: A session that was not used for so long is closed.
        most_sessions: Of more, the one that was not used for longest is closed.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int] = ("127.0.0.1", 0),
        *,
        sandbox: SandboxLike = "local",
        limits: Limits | None = None,
        token: str = "",
        idle_seconds: float = 3600.0,
        most_sessions: int = 1024,
    ) -> None:
        self.sandbox = get_sandbox(sandbox)
        self.limits = limits or Limits()
        self.token = token
        self._idle, self._most = idle_seconds, most_sessions
        self._lock = threading.Lock()
        self._sessions: dict[str, _Open] = {}
        super().__init__(address, SandboxHandler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the cell of a request, and return the reply."""
        entry = self._session(str(request.get("session_id") or ""))
        identity = str(request.get("request_id") or "")
        with entry.lock:
            entry.used = time.monotonic()
            if identity and entry.request == identity:
                return entry.reply
            started = time.monotonic()
            seconds = request.get("timeout", DEFAULT_TIMEOUT)
            timeout = min(float(seconds), self.limits.cell_seconds) if isinstance(seconds, int | float) else None
            if isinstance(request.get("next_image"), int):
                entry.session.number_from(request["next_image"])
            result = entry.session.run(str(request.get("code") or ""), timeout)
            entry.reply = _reply(result, identity, time.monotonic() - started)
            entry.request = identity
            entry.used = time.monotonic()
            return entry.reply

    def clear(self, request: dict[str, Any]) -> dict[str, Any]:
        """Close a session."""
        with self._lock:
            entry = self._sessions.pop(str(request.get("session_id")), None)
        if entry is not None:
            entry.session.close()
        return {"status": "success"}

    def _session(self, name: str) -> _Open:
        now = time.monotonic()
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = _Open(Session(sandbox=self.sandbox, limits=replace(self.limits)), now)
            by_age = sorted((each.used, key) for key, each in self._sessions.items() if key != name)
            spare = max(len(self._sessions) - self._most, 0)
            over = [key for position, (used, key) in enumerate(by_age) if position < spare or now - used > self._idle]
            closed = [self._sessions.pop(key) for key in over]
            entry = self._sessions[name]
        for each in closed:
            each.session.close()
        return entry

    def server_close(self) -> None:
        """Stop listening, and close all sessions."""
        super().server_close()
        with self._lock:
            entries, self._sessions = list(self._sessions.values()), {}
        for each in entries:
            each.session.close()


class SandboxHandler(BaseHTTPRequestHandler):
    """Reads requests, and writes replies."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Answer a request."""
        server = cast(SandboxServer, self.server)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {MAX_BODY} bytes"})
        body = self.rfile.read(length)
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if server.token and not hmac.compare_digest(sent.encode(), server.token.encode()):
            return self.answer(HTTPStatus.UNAUTHORIZED, {"error": "a token is needed: Authorization: Bearer"})
        route = {RUN: server.run, CLEAR: server.clear}.get(self.path)
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if route is None or not isinstance(request, dict):
            return self.answer(HTTPStatus.BAD_REQUEST, {"error": f"POST a JSON object to {RUN} or {CLEAR}"})
        try:
            reply = route(request)
        except SandboxError as error:
            logger.warning("%s", error)
            return self.answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})
        return self.answer(HTTPStatus.OK, reply)

    def answer(self, status: HTTPStatus, reply: dict[str, Any]) -> None:
        """Write a reply."""
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests for those who look for them."""
        logger.debug(format, *args)


def _reply(result: CellResult, identity: str, seconds: float) -> dict[str, Any]:
    return {
        "status": "success",
        "execution_time": seconds,
        "request_id": identity,
        "output": {
            "result": result.result,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "images": [base64.b64encode(codec.encode(image)).decode() for image in result.images],
            "debug_info": {
                "error": result.error,
                "truncated": result.truncated,
                "ended": result.ended,
                "notes": list(result.notes),
            },
        },
    }
