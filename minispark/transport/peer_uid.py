"""Whose process it is at the other end of a TCP connection within this host, as Linux knows it.

Must not know what the answer opens.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_LOCAL, _REMOTE, _STATE, _UID = 1, 2, 3, 7
"""Columns of the table. Source: proc(5), net/tcp."""
_ESTABLISHED = "01"
"""Of a socket that its process has closed, the kernel names user 0, whoever that was."""


def uid_of_peer(sock: socket.socket) -> int | None:
    """The user whose process opened the other end; None where nobody can say: another host, IPv6,
    another system, a connection that is closing.
    """
    if sock.family is not socket.AF_INET:
        return None
    try:
        peer, own = sock.getpeername(), sock.getsockname()
        table = _TABLE.read_text(encoding="ascii")
    except OSError:
        return None
    return find_uid(table, peer, own)


def find_uid(table: str, peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The user in the table's row of the connection as the peer sees it."""
    ends = [_address(*peer), _address(*own)]
    for line in table.splitlines()[1:]:
        columns = line.split()
        if [columns[_LOCAL], columns[_REMOTE]] == ends and columns[_STATE] == _ESTABLISHED:
            return int(columns[_UID])
    return None


def _address(host: str, port: int) -> str:
    """As the table writes it: the address's four bytes as one number of the host's byte order."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
