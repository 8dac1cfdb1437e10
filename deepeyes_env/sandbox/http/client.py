"""A sandbox behind HTTP: the original's code server, or ours (``deepeyes sandbox --port``)."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from typing import Any

from deepeyes_env.errors import UsageError
from deepeyes_env.images import Image, codec
from deepeyes_env.sandbox.kernel import Cell, CellResult, Kernel, KernelLostError, Limits, Sandbox
from deepeyes_env.sandbox.worker.streams import cut
from deepeyes_env.telling import quoted

RUN, CLEAR = "/jupyter_sandbox", "/clear_session"
URL_VARIABLE = "DEEPEYES_SANDBOX_URL"
TOKEN_VARIABLE = "DEEPEYES_SANDBOX_TOKEN"
MARGIN = 40.0
"""Seconds that a reply may take beyond the cell's limit: the original waits 240 for a limit of 200."""
_BIND = """import base64 as _base64, io as _io
from PIL import Image as _Image
{name} = _Image.open(_io.BytesIO(_base64.b64decode({data!r}))).convert("RGB")
del _base64, _io, _Image
"""
logger = logging.getLogger(__name__)


class HTTPSandbox(Sandbox):
    """Runs programs on a code server.

    Requests that fail are sent again. Our server recognises them, and runs no cell twice; of another one it cannot be
    known whether it did, and the result says so.

    Args:
        url: The server, ``http://host:port``; by default the variable ``DEEPEYES_SANDBOX_URL``.
        token: What our server may ask for; by default the variable ``DEEPEYES_SANDBOX_TOKEN``.
        tries: How often a request is sent at most.

    Raises:
        UsageError: There is no URL, or it is none of HTTP.
    """

    def __init__(self, url: str = "", *, token: str = "", tries: int = 6) -> None:
        self.url = (url or os.environ.get(URL_VARIABLE, "")).rstrip("/").removesuffix(RUN)
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(f"url is {quoted(self.url)}; give the code server's: http://host:port, or {URL_VARIABLE}")
        self._token = token or os.environ.get(TOKEN_VARIABLE, "")
        self._tries = tries

    def open(self, limits: Limits) -> Kernel:
        """Open a session on the server; it comes into being with its first cell."""
        return HTTPKernel(self, limits)

    def describe(self) -> str:
        """Return in a line where programs run."""
        return f"sandbox: {self.url}; how it shuts programs in is its own affair"

    def post(self, path: str, body: dict[str, Any], seconds: float) -> tuple[dict[str, Any], int]:
        """Send a request until there is a reply.

        Returns:
            The reply, and how often the request was sent.

        Raises:
            KernelLostError: None came.
        """
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for sent in range(1, self._tries + 1):
            request = urllib.request.Request(self.url + path, data, headers)
            try:
                with urllib.request.urlopen(request, timeout=seconds) as response:
                    reply = json.loads(response.read())
                if isinstance(reply, dict):
                    return reply, sent
                problem = "a reply that is no JSON object"
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}"
                if error.code < 500 and error.code != 429:
                    break
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            logger.info("the code server %s: %s; try %d of %d", self.url, problem, sent, self._tries)
            if sent < self._tries:
                time.sleep(min(0.05 * 2**sent, 5.0) * random.uniform(0.5, 1.0))
        raise KernelLostError("killed", f"the code server {self.url} did not answer: {problem}", blameless=True)


class HTTPKernel(Kernel):
    """A session of a code server.

    Args:
        sandbox: The server.
        limits: What of it a client can keep: time, and how much of the output comes back.
    """

    def __init__(self, sandbox: HTTPSandbox, limits: Limits) -> None:
        self._sandbox, self._limits = sandbox, limits
        self._session = uuid.uuid4().hex
        self._unbound: list[tuple[str, Image]] = []
        self._used = False

    def execute(self, cell: Cell) -> CellResult:
        """Run a cell; see ``Kernel.execute``. Images are bound by cells of their own, as the original does."""
        notes: list[str] = []
        for name, pixels in (*self._unbound, *cell.bind):
            data = base64.b64encode(codec.encode(pixels)).decode()
            bound, _ = self._run(_BIND.format(name=name, data=data), cell, [])
            if bound["stderr"]:
                raise KernelLostError("protocol", f"the code server could not bind {name}: {bound['stderr'][-200:]}")
        started = time.monotonic()
        output, ours = self._run(cell.code, cell, notes)
        images = self._images(output.get("images"), notes)
        self._unbound = [] if ours else [(f"image_{cell.next_image + i}", each) for i, each in enumerate(images)]
        return self._result(output, ours, images, notes, time.monotonic() - started)

    def _run(self, code: str, cell: Cell, notes: list[str]) -> tuple[dict[str, Any], bool]:
        """Send a program, and return its output and whether the server is one of ours."""
        body = {
            "session_id": self._session,
            "code": code,
            "timeout": cell.seconds,
            "request_id": uuid.uuid4().hex,
            "next_image": cell.next_image,
        }
        self._used = True
        reply, sent = self._sandbox.post(RUN, body, cell.seconds + MARGIN)
        output = reply.get("output")
        if reply.get("status") != "success" or not isinstance(output, dict):
            raise KernelLostError("protocol", f"the code server answered: {quoted(reply)}")
        ours = reply.get("request_id") == body["request_id"]
        if sent > 1 and not ours:
            notes.append(f"the code server was asked {sent} times, and may have run the cell more than once")
        output = {**output, "stdout": str(output.get("stdout") or ""), "stderr": str(output.get("stderr") or "")}
        return output, ours

    def _images(self, images: Any, notes: list[str]) -> tuple[Image, ...]:
        shown: Sequence[Any] = images if isinstance(images, list) else ()
        decoded = []
        for data in shown[: self._limits.images]:
            try:
                raw = base64.b64decode(data)
                width, height = codec.read_size(raw)
                if width * height > self._limits.image_pixels:
                    raise ValueError(f"{width} x {height} px")
                decoded.append(codec.decode(raw))
            except (ValueError, TypeError) as error:
                notes.append(f"an image was left out: {str(error)[:100]}")
        if len(shown) > self._limits.images:
            more = len(shown) - self._limits.images
            notes.append(f"only {self._limits.images} images are shown from one cell ({more} left out)")
        return tuple(decoded)

    def _result(
        self, output: dict[str, Any], ours: bool, images: tuple[Image, ...], notes: list[str], seconds: float
    ) -> CellResult:
        stdout, out_cut = cut(output["stdout"], self._limits.stdout)
        stderr, err_cut = cut(output["stderr"], self._limits.stderr, keep_end=True)
        told = output.get("debug_info") if ours else None
        info: dict[str, Any] = told if isinstance(told, dict) else {"error": _error_of(stderr)}
        result = output.get("result")
        return CellResult(
            stdout=stdout,
            stderr=stderr,
            result=None if result in (None, "None") else str(result)[: self._limits.stdout],
            images=images,
            error=None if info.get("error") is None else str(info["error"])[:100],
            truncated=out_cut or err_cut or bool(info.get("truncated")),
            seconds=seconds,
            notes=(*notes, *map(str, info.get("notes", ()))),
        )

    def close(self) -> None:
        """Tell the server to forget the session, without waiting long."""
        if self._used:
            self._used = False
            try:
                once = HTTPSandbox(self._sandbox.url, tries=1)
                once.post(CLEAR, {"session_id": self._session}, 5.0)
            except KernelLostError as error:
                logger.debug("a session was not cleared: %s", error)


def _error_of(stderr: str) -> str | None:
    """Return the name of the error that a traceback ends with, or that the original's words name."""
    lines = stderr.rstrip().splitlines()
    if not lines:
        return None
    first = lines[-1].split(":")[0].split(" - ")[0]
    return first if first.isidentifier() else "Error"
