"""The supervisor's control socket: one JSON line asks, one JSON line answers.

A Unix socket that only its owner can open; it lies in the state directory, or, where that path is
too long for one, in SHORT_DIR. Must not know what is asked for.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minispark.errors import ClusterError, NoCluster

PATH_BYTES_MAX = 100
"""The kernel takes 107 (Linux) or 103 (macOS)."""
SHORT_DIR = Path("/tmp")
"""Not TMPDIR, which may be as long."""
LINE_BYTES_MAX = 65536
TIMEOUT_S = 5.0

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class ControlServer:
    """The supervisor's end. Its owner watches `fileno`, and calls `serve` when it is readable."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        path = folder / "control.sock"
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            path = SHORT_DIR / f"minispark-{os.getuid()}-{os.getpid()}.sock"
        path.unlink(missing_ok=True)
        self.path = path
        self._answer = answer
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            self._sock.bind(str(path))
        finally:
            os.umask(old)
        self._own = path.stat()
        self._sock.listen(16)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        return self._sock.fileno()

    def serve(self) -> None:
        """Answer who asks now. One that does not say its line at once is not waited for."""
        try:
            peer, _ = self._sock.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(0.2)
            try:
                line = peer.recv(LINE_BYTES_MAX)
                asked = json.loads(line)
                answer = self._answer(asked) if isinstance(asked, dict) else {"error": "no object"}
                peer.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, ValueError):
                pass  # it broke off, or spoke something else

    def close(self) -> None:
        """The path may be another supervisor's by now: when the directory was removed."""
        try:
            if os.path.samestat(self.path.stat(), self._own):
                self.path.unlink()
        except FileNotFoundError:
            pass
        self._sock.close()


def ask(path: str, question: dict[str, Any]) -> dict[str, Any]:
    """Ask the supervisor. Raises NoCluster when nobody answers, ClusterError for a refusal."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(path)
            sock.sendall(json.dumps(question).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and (more := sock.recv(LINE_BYTES_MAX)):
                data += more
        answer: dict[str, Any] = json.loads(data)
    except (OSError, ValueError) as error:
        raise NoCluster(f"the supervisor does not answer: {error}") from error
    if "error" in answer:
        raise ClusterError(answer["error"])
    return answer
