"""How an executor reaches its worker's partition cache: one question at a time over a Unix socket.

A question is a line of JSON, and so is its answer; files travel as descriptors beside them, so
nothing is copied: `{"get": key}` is answered `{"found", "is_spilled"}` with the file, `{"put": key,
"attempt_id", "is_copy"}` comes with one, `{"spoiled": key, "why"}` says that one could not be read;
these two are answered `{}`. Must not know what is in a file.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from typing import Any

from minispark.errors import ProtocolError
from minispark.storage.partition_cache import Found, PartitionCache

LINE_BYTES_MAX = 4096

logger = logging.getLogger("minispark.worker")


class CacheChannel:
    """The executor's end. Without a cache behind it, every question is a miss."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    @property
    def is_open(self) -> bool:
        """Whether there is a cache."""
        return self._sock is not None

    def get(self, key: str) -> Found | None:
        """The entry, if there is one."""
        if self._sock is None:
            return None
        answer, fds = self._ask({"get": key})
        return Found(fds[0], answer["is_spilled"]) if answer.get("found") else None

    def put(self, key: str, fd: int, attempt_id: str | None, is_copy: bool) -> None:
        """Give it a shuffle file; the descriptor stays the caller's."""
        self._ask({"put": key, "attempt_id": attempt_id, "is_copy": is_copy}, fd)

    def spoiled(self, key: str, why: str) -> None:
        """What `get` gave cannot be read."""
        self._ask({"spoiled": key, "why": why[:200]})

    def _ask(self, question: dict[str, Any], *fds: int) -> tuple[dict[str, Any], list[int]]:
        if self._sock is None:
            return {}, []
        try:
            socket.send_fds(self._sock, [_line(question)], fds)
            return _receive(self._sock)
        except (OSError, EOFError):
            self._sock = None  # the agent is gone, and this executor with it in a moment
            return {}, []


def serve_cache(sock: socket.socket, cache: PartitionCache) -> None:
    """Answer one executor, from a thread that ends with it."""
    threading.Thread(target=_serve, args=(sock, cache), name="cache", daemon=True).start()


def _serve(sock: socket.socket, cache: PartitionCache) -> None:
    with sock:
        while True:
            try:
                _answer(sock, cache, *_receive(sock))
            except (OSError, EOFError):
                return  # the executor is gone


def _answer(
    sock: socket.socket, cache: PartitionCache, message: dict[str, Any], fds: list[int]
) -> None:
    if "get" in message:
        found = cache.get(message["get"])
        if found is None:
            sock.sendall(_line({"found": False}))
            return
        try:
            answer = _line({"found": True, "is_spilled": found.is_spilled})
            socket.send_fds(sock, [answer], [found.fd])
        finally:
            os.close(found.fd)
    elif "put" in message:
        try:
            cache.put(message["put"], fds[0], message["attempt_id"], message["is_copy"])
        except (OSError, ProtocolError) as error:
            logger.warning("%s is not cached: %s", message["put"], error)
        sock.sendall(_line({}))
    else:
        cache.spoiled(message["spoiled"], message["why"])
        sock.sendall(_line({}))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One line, and the descriptors beside it. Raises EOFError, OSError."""
    data = b""
    fds: list[int] = []
    while not data.endswith(b"\n"):
        piece, more, _, _ = socket.recv_fds(sock, LINE_BYTES_MAX, 1)
        fds += more
        if not piece:
            raise EOFError("the other end is closed")
        data += piece
    return json.loads(data), fds
