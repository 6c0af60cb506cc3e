"""Whose process is at the other end of a connection."""

from __future__ import annotations

import os
import socket

from minispark.transport.peer_uid import find_uid, uid_of_peer

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
PEER, OWN = ("127.0.0.1", 40000), ("127.0.0.1", 8080)


def row(local: str, remote: str, state: str, uid: int) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid} 0 1 1 0\n"


THEIRS = ("0100007F:9C40", "0100007F:1F90")
OURS = (THEIRS[1], THEIRS[0])


def test_the_row_as_the_peer_sees_the_connection_names_its_user() -> None:
    table = HEAD + row(*OURS, "01", 1) + row(*THEIRS, "01", 1000)
    assert find_uid(table, PEER, OWN) == 1000


def test_a_connection_of_the_same_port_to_somewhere_else_is_another_one() -> None:
    table = HEAD + row(THEIRS[0], "0100007F:1F91", "01", 1000)
    assert find_uid(table, PEER, OWN) is None


def test_a_socket_that_was_closed_belongs_to_nobody() -> None:
    """The kernel says 0 of it, which would be root."""
    for state in ("04", "05", "06"):
        assert find_uid(HEAD + row(*THEIRS, state, 0), PEER, OWN) is None


def test_our_own_connection_is_our_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                assert uid_of_peer(accepted) == os.getuid()


def test_a_peer_that_is_gone_is_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        accepted, _ = server.accept()
        with accepted:
            assert uid_of_peer(accepted) is None


def test_of_another_kind_of_socket_nothing_is_known() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert uid_of_peer(left) is None
