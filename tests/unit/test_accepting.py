"""An acceptor tells a socket that is being closed from one that has no room for now."""

from __future__ import annotations

import errno
import logging
import socket

import pytest

from minispark.transport.accepting import Acceptor
from tests.unit.sockets import Failing, said_of_ports

logger = logging.getLogger("minispark.test")


def test_a_socket_shut_down_ends_accepting_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        acceptor = Acceptor(listening, "data", logger)
        listening.shutdown(socket.SHUT_RDWR)  # a thread that waits is woken by this, not by close
        with caplog.at_level(logging.WARNING), pytest.raises(OSError):
            acceptor.accept()
    assert not acceptor.is_exhausted
    assert not caplog.records


def test_f50_a_full_system_is_told_of_once_and_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Failing(errno.EMFILE, errno.ENFILE) as listening:
        acceptor = Acceptor(listening, "data", logger)
        with caplog.at_level(logging.WARNING):
            assert acceptor.accept() is None and acceptor.is_exhausted
            assert acceptor.accept() is None and acceptor.is_exhausted
    assert len(said_of_ports(caplog)) == 1
