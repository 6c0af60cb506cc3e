"""Lets the system end a connection whose peer is gone without a word: switched off, or behind a
link that is cut. Otherwise it is noticed only when so much time has passed as TCP allows, which is
many minutes.

Must not know what the connection is for.
"""

from __future__ import annotations

import socket

PROBES = 3


def end_when_silent(sock: socket.socket, after_s: float) -> None:
    """A TCP connection fails with OSError once its peer has acknowledged nothing for about
    `after_s` (whole seconds, at least 2), whether data wait for that or not.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    after_s = max(2, round(after_s))
    probe_s = max(1, after_s // (PROBES + 1))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": max(1, after_s - PROBES * probe_s),
        "TCP_KEEPALIVE": max(1, after_s - PROBES * probe_s),  # what macOS calls the one above
        "TCP_KEEPINTVL": probe_s,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": 1000 * after_s,
    }
    for name, value in options.items():
        option = getattr(socket, name, None)  # each system has some of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
