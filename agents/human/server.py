"""The web server of a session: this machine only, and only for those who know its token."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, cast
from urllib.parse import urlsplit

from deepeyes_env.agents.human.message import FormError
from deepeyes_env.agents.human.session import Session, Stale
from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.images import codec

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
MAX_BODY = 1 << 20
"""Most bytes of a request's body."""

FAREWELL = 3.0
"""Seconds that the server stays for a page to hear that the session is over."""

_PAGE = "deepeyes_env.agents.human", "page"
_VIEWER = "deepeyes_env.trajectories", "viewer"
_ASSETS = {
    "": (*_PAGE, "index.html", "text/html"),
    "page.css": (*_PAGE, "page.css", "text/css"),
    "theme.css": (*_VIEWER, "theme.css", "text/css"),
    "parts.js": (*_VIEWER, "parts.js", "text/javascript"),
    "stage.js": (*_PAGE, "stage.js", "text/javascript"),
    "fields.js": (*_PAGE, "fields.js", "text/javascript"),
    "panels.js": (*_PAGE, "panels.js", "text/javascript"),
    "page.js": (*_PAGE, "page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(DeepEyesError):  # noqa: N818 - an answer like any other
    """A request that is answered with an error; ``more`` goes into the JSON of the answer."""

    def __init__(self, status: HTTPStatus, reason: str, **more: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.more = more


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    body: bytes
    kind: str
    cache: str = "no-store"
    final: bool = False


@contextmanager
def serving(session: Session, port: int = 0) -> Iterator[str]:
    """Serve a session and give the address of its page, which holds the token.

    At the end the session is finished, and a page that waits for that is told.

    Args:
        session: The session.
        port: Port on 127.0.0.1; 0 for any free one.

    Raises:
        OSError: The port is taken; the message says what to do.
    """
    try:
        server = _PlayServer(session, port)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"port {port} of {ADDRESS} cannot be used ({reason}); give another, or 0 for any") from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="play-server", daemon=True).start()
    try:
        yield f"http://{ADDRESS}:{server.server_port}/{server.token}/"
        session.finish()
        server.finished.wait(FAREWELL)
    finally:
        server.shutdown()
        server.server_close()


class _PlayServer(ThreadingHTTPServer):
    daemon_threads = True  # a connection that sends nothing must not keep the process alive

    def __init__(self, session: Session, port: int) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.finished = threading.Event()
        super().__init__((ADDRESS, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that broke; the standard library would write to standard error."""
        logger.debug("a connection from %s broke", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Every path begins with the token: other pages in the same browser cannot know it, whatever they send."""

    server_version = "deepeyes"
    sys_version = ""
    timeout = 30  # seconds that a silent connection is kept

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a POST request."""
        self._answer(self._post)

    def _answer(self, act: Callable[[str, bytes], Answer]) -> None:
        try:
            body = self._body()
            answer, status = act(self._path(), body), HTTPStatus.OK
        except Refused as refused:
            answer = _json({"error": str(refused), **refused.more})
            status = refused.status
        except OSError:
            raise
        except Exception as error:
            logger.exception("a request of the page failed")
            answer = _json({"error": f"{type(error).__name__}: {error}"})
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        self._send(status, answer)
        if answer.final:
            self._mine.finished.set()

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{answer.kind}; charset=utf-8" if "image" not in answer.kind else answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", answer.cache)
        self.end_headers()
        self.wfile.write(answer.body)

    # --- what may be asked -------------------------------------------------------------------------------------------

    def _get(self, path: str, body: bytes) -> Answer:
        if path == "state":
            return _state(self._mine.session.state())
        if path in _ASSETS:
            package, folder, name, kind = _ASSETS[path]
            return Answer(resources.files(package).joinpath(folder, name).read_bytes(), kind)
        match path.split("/"):
            case ["image", episode, index] if _is_number(episode) and _is_number(index):
                image = self._mine.session.image(int(episode), int(index))
                if image is not None:
                    return Answer(codec.encode(image.pixels()), "image/png", "private, max-age=3600")
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _post(self, path: str, body: bytes) -> Answer:
        if path not in ("say", "next", "stop"):
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
        form = _read(body)
        session = self._mine.session
        if path == "stop":
            return _state(session.stop())
        version = form.get("version")
        if type(version) is not int:
            raise Refused(HTTPStatus.BAD_REQUEST, "the version must be a whole number")
        try:
            return _state(session.say(version, form) if path == "say" else session.go_on(version))
        except FormError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        except Stale as error:
            raise Refused(HTTPStatus.CONFLICT, str(error), state=session.state()) from error

    # --- who may ask -------------------------------------------------------------------------------------------------

    @property
    def _mine(self) -> _PlayServer:
        return cast(_PlayServer, self.server)

    def _path(self) -> str:
        """Return the path behind the token.

        Raises:
            Refused: The token is missing or wrong, or the request comes from a page of another origin. The name of the
                host is checked because a name of the attacker's own may be made to resolve to this machine.
        """
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if _host_name(host) not in (ADDRESS, "localhost"):
            raise Refused(HTTPStatus.FORBIDDEN, f"this page is served to {ADDRESS} only")
        own_page = site in ("none", "same-origin") or self._is_opened()
        if (origin is not None and origin != f"http://{host}") or not own_page:
            raise Refused(HTTPStatus.FORBIDDEN, "another page may not use this one")
        token, slash, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._mine.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "open the whole address that deepeyes play printed; it holds a token")
        if not slash:
            raise Refused(HTTPStatus.NOT_FOUND, "the address ends with a slash")
        return path

    def _is_opened(self) -> bool:
        """Whether the page is opened as one of its own: by the file that ``deepeyes play`` gives to the browser."""
        wanted = (self.headers.get("Sec-Fetch-Mode"), self.headers.get("Sec-Fetch-Dest"))
        whole = self.path.endswith("/") and self.path.count("/") == 2
        return self.command == "GET" and whole and wanted == ("navigate", "document")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not _is_number(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length must be a number")
        if int(length) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY} bytes")
        return self.rfile.read(int(length))

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request; the standard library would write to standard error."""
        logger.debug(format, *args)


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _read(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body {str(error)[:200]}") from error


def _state(state: dict[str, Any]) -> Answer:
    return _json(state, final=state["phase"] == "finished")


def _json(value: dict[str, Any], final: bool = False) -> Answer:
    return Answer(json.dumps(value, allow_nan=False).encode("ascii"), "application/json", final=final)
