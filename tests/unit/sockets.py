"""Sockets for tests: listening ones that fail, and the patience to hear a peer out."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

TIMEOUT_S = 10.0


class Failing(socket.socket):
    """A listening socket whose next accepts fail."""

    def __init__(self, *errors: int) -> None:
        super().__init__(fileno=socket.create_server(("127.0.0.1", 0)).detach())
        self.errors = list(errors)
        self.tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "no")
        return super().accept()


def until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true value. Fails the test after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.002)
    return value


def said_of_ports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of accepting; threads of other tests may still log something else."""
    return [text for text in caplog.messages if " port: " in text]


def answer_to(sock: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionError:
        pass  # it ended with what was sent unread
    return data
