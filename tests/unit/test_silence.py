"""What the system is told about peers that say nothing."""

from __future__ import annotations

import socket

import pytest

from minispark.transport.silence import end_when_silent


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
@pytest.mark.parametrize(("after_s", "ends_ms"), [(1.5, 2000), (10.0, 10_000), (0.1, 2000)])
def test_a_silent_peer_is_given_up_in_the_time_that_was_said(after_s: float, ends_ms: int) -> None:
    with socket.socket() as sock:
        end_when_silent(sock, after_s)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle_s, probe_s, probes = (sock.getsockopt(socket.IPPROTO_TCP, o) for o in options)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == ends_ms
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert 1 <= idle_s and 1 <= probe_s
    assert idle_s + probe_s * probes <= max(4, 1.25 * ends_ms / 1000)


def test_a_socket_of_this_host_needs_no_probes() -> None:
    left, right = socket.socketpair()
    with left, right:
        end_when_silent(left, 5.0)
        assert left.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
