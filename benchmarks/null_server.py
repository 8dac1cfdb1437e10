"""A server that reads a chat completions request, ignores it, and answers with a zoom to a random megapixel box.

    python -m benchmarks.null_server WIDTH HEIGHT DELAY

Prints its port; ``GET /v1/stats`` tells how many requests there were and how many were in flight at once. It has a
process of its own so that its CPU time is not the client's.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field

BOX = (1008, 980)
"""Multiples of 28 pixels, within the default view budget: shown as it is cut."""


class Stats:
    """Requests so far, and how many were in flight at once, on average over time since the first.

    ``full`` is the mean from the time when most were in flight first until the last request came: without the beginning
    and the end, where there are not that many.
    """

    def __init__(self) -> None:
        self.requests = self.now = self.peak = 0
        self.area = 0.0
        self.start = self.last = 0.0
        self.reached = self.came = (0.0, 0.0)  # clock and area

    def change(self, by: int) -> None:
        clock = time.monotonic()
        self.start = self.start or clock
        self.area += self.now * (clock - (self.last or clock))
        self.last = clock
        self.now += by
        self.requests += by > 0
        if by > 0:
            self.came = (clock, self.area)
        if self.now > self.peak:
            self.peak, self.reached = self.now, (clock, self.area)

    def report(self) -> bytes:
        mean = self.area / max(self.last - self.start, 1e-9)
        (start, before), (end, after) = self.reached, self.came
        full = (after - before) / max(end - start, 1e-9)
        return json.dumps({"requests": self.requests, "peak": self.peak, "mean": mean, "full": full}).encode()


@dataclass
class Null:
    """What all connections share.

    Attributes:
        size: ``(width, height)`` of the image that is zoomed into, in pixels.
        delay: Seconds that an answer takes.
        buffer: What is read goes here, and nowhere else.
        random: Chooses boxes.
        stats: What was seen.
    """

    size: tuple[int, int]
    delay: float
    buffer: bytearray = field(default_factory=lambda: bytearray(2**18))
    random: random.Random = field(default_factory=lambda: random.Random(0))
    stats: Stats = field(default_factory=Stats)

    def answer(self) -> bytes:
        """Write a chat completion."""
        x, y = (self.random.randrange(side - box) for side, box in zip(self.size, BOX, strict=True))
        call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [x, y, x + BOX[0], y + BOX[1]]}}
        content = f"<think>Closer.</think><tool_call>{json.dumps(call)}"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        return json.dumps({"id": "0", "object": "chat.completion", "model": "null", "choices": [choice]}).encode()


class Connection(asyncio.BufferedProtocol):
    """One client, which waits for an answer before it asks again."""

    def __init__(self, null: Null) -> None:
        self._null = null
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._null.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._left:
            self._head += self._null.buffer[:nbytes]
            head, mark, body = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            self._head, nbytes = b"", len(body)
            if b"/stats" in head[:40]:
                self._write(self._null.stats.report())
                self._null.stats = Stats()
                return
            self._left = next(
                int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            self._null.stats.change(1)
        self._left -= nbytes
        if not self._left:
            asyncio.get_running_loop().call_later(self._null.delay, self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._left:
            self._null.stats.change(-1)

    def _answer(self) -> None:
        self._null.stats.change(-1)
        self._write(self._null.answer())

    def _write(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)


async def main() -> None:
    """Serve until killed."""
    width, height, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    null = Null((width, height), delay)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(null), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
