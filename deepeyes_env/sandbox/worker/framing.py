"""Messages between the host and a session: a length, JSON, then the pixels that the JSON announces.

Nothing is pickled in either direction. File descriptors go one way only, into the sandbox.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

_LENGTH = struct.Struct(">I")
MAX_FDS = 64
"""File descriptors with one message at most."""


IMAGES_TOGETHER = 3
"""All images of a reply have at most so many times the pixels that one may have."""


class Source(Protocol):
    """What bytes are received from: a socket."""

    def recv_into(self, view: memoryview, /) -> int:
        """Receive some bytes; 0 means that there will be no more."""
        ...


class BrokenMessageError(Exception):
    """What came is no message: too long, no JSON, or cut off."""


def send(sock: socket.socket, head: dict[str, Any], payloads: Iterable[Any] = (), fds: Sequence[int] = ()) -> None:
    """Send a message.

    Args:
        sock: A stream socket.
        head: What becomes JSON.
        payloads: Bytes that follow it as they are.
        fds: File descriptors to pass on.
    """
    text = json.dumps(head).encode()
    if fds:
        socket.send_fds(sock, [_LENGTH.pack(len(text))], fds)
        sock.sendall(text)
    else:
        sock.sendall(_LENGTH.pack(len(text)) + text)
    for payload in payloads:
        sock.sendall(payload)


def receive(sock: Source, most: int) -> dict[str, Any]:
    """Receive a message's JSON; descriptors that come along are dropped.

    Raises:
        EOFError: The other side is gone.
        BrokenMessageError: It is longer than ``most`` bytes, or no JSON object.
    """
    return _body(sock, receive_bytes(sock, _LENGTH.size), most)


def receive_with_fds(sock: socket.socket, most: int) -> tuple[dict[str, Any], list[int]]:
    """Receive a message's JSON and the file descriptors that came with it.

    Raises:
        EOFError: The other side is gone.
        BrokenMessageError: It is longer than ``most`` bytes, or no JSON object.
    """
    start, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, MAX_FDS)
    if not start:
        raise EOFError("the other side is gone")
    rest = receive_bytes(sock, _LENGTH.size - len(start)) if len(start) < _LENGTH.size else b""
    return _body(sock, start + rest, most), fds


def receive_bytes(sock: Source, length: int) -> bytearray:
    """Receive a number of bytes.

    Raises:
        EOFError: The other side is gone before they have all come.
    """
    data = bytearray(length)
    receive_into(sock, memoryview(data))
    return data


def receive_into(sock: Source, view: memoryview) -> None:
    """Fill a buffer.

    Raises:
        EOFError: The other side is gone before it is full.
    """
    while view:
        got = sock.recv_into(view)
        if not got:
            raise EOFError("the other side is gone")
        view = view[got:]


def _body(sock: Source, length: bytes | bytearray, most: int) -> dict[str, Any]:
    (size,) = _LENGTH.unpack(length)
    if size > most:
        raise BrokenMessageError(f"a message of {size} bytes; at most {most}")
    try:
        head = json.loads(receive_bytes(sock, size))
    except (ValueError, RecursionError) as error:
        raise BrokenMessageError(f"no JSON: {type(error).__name__}") from None
    if not isinstance(head, dict):
        raise BrokenMessageError("no JSON object")
    return head
