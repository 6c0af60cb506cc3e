"""The baseline of small things: two processes that send each other JSON messages, and do no more.

Standard library only: selectors, and a four-byte length before each frame.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import time

from minispark.supervisor.forked import signals_blocked

_HEAD = struct.Struct(">I")
RECEIVE_BYTES = 65536
STALL_S = 5.0


def messages_per_s(seconds: float) -> float:
    """How many messages come back in a second, one after the other."""
    with _Peer() as peer:
        frame = _framed([{"id": 0}])
        count, begun = 0, time.perf_counter()
        while (took := time.perf_counter() - begun) < seconds:
            peer.there_and_back(frame)
            count += 1
        return count / took


def round_trip_s(count: int) -> list[float]:
    """Seconds that each of `count` messages took there and back, one after the other."""
    times = []
    with _Peer() as peer:
        frame = _framed([{"id": 0}])
        for _ in range(count):
            begun = time.perf_counter()
            peer.there_and_back(frame)
            times.append(time.perf_counter() - begun)
    return times


class _Peer:
    """The other process, and this one's end of the socket between."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self._buffer = b""
        with signals_blocked():  # what a handler raises within the hooks of a fork is ignored
            self._pid = os.fork()
        if self._pid == 0:
            self.sock.close()
            _echo(theirs)
        theirs.close()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.sock, selectors.EVENT_READ)

    def __enter__(self) -> _Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self.sock.close()
        os.waitpid(self._pid, 0)

    def there_and_back(self, frame: bytes) -> None:
        """Send one frame, and wait until its message is here again."""
        self.sock.sendall(frame)
        payloads: list[bytes] = []
        while not payloads:
            if not self._selector.select(STALL_S):
                raise TimeoutError("the other process does not answer")
            self._buffer += self.sock.recv(RECEIVE_BYTES)
            payloads, self._buffer = _frames(self._buffer)
        for payload in payloads:
            json.loads(payload)


def _echo(sock: socket.socket) -> None:
    """The other process: sends back what comes, until the connection ends."""
    buffer = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            while selector.select() and (data := sock.recv(RECEIVE_BYTES)):
                payloads, buffer = _frames(buffer + data)
                sock.sendall(b"".join(_framed(json.loads(payload)) for payload in payloads))
    except OSError:
        pass  # it was closed with messages on their way
    finally:
        os._exit(0)


def _framed(message: object) -> bytes:
    payload = json.dumps(message).encode()
    return _HEAD.pack(len(payload)) + payload


def _frames(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the beginning, and the rest."""
    found, at = [], 0
    while len(data) >= at + _HEAD.size:
        end = at + _HEAD.size + _HEAD.unpack_from(data, at)[0]
        if len(data) < end:
            break
        found.append(data[at + _HEAD.size : end])
        at = end
    return found, data[at:]
