"""A result file of another host as a stream of pieces, which goes on where it was when a connection
breaks: a result file never changes.

Must not know whose file it is, nor what stands in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from minispark.errors import ClusterError, ProtocolError
from minispark.transport.connection import Connection
from minispark.transport.messages import Bulk, FetchFile

PIECE_BYTES = 1 << 18
ANSWER_TIMEOUT_S = 30.0
PATIENCE_S = 10.0
"""How long nothing more may come until it is given up."""
RETRY_S = 0.2


def far_pieces(
    connect: Callable[[], Connection], name: str, patience_s: float = PATIENCE_S
) -> Iterator[bytes]:
    """The file's bytes, PIECE_BYTES at a time.

    Raises ClusterError (its worker has no such file), and what a connection raises once it was
    tried for `patience_s` in vain.
    """
    position, total = 0, -1
    give_up_at = time.monotonic() + patience_s
    while position != total:
        try:
            with closing(connect()) as connection:
                total = position + _ask(connection, name, position)
                while position < total:
                    size = min(PIECE_BYTES, total - position)
                    piece = connection.receive_bulk(size, ANSWER_TIMEOUT_S)
                    position += size
                    yield piece
                    give_up_at = time.monotonic() + patience_s
        except (OSError, EOFError, ProtocolError):
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(RETRY_S)


def _ask(connection: Connection, name: str, position: int) -> int:
    """How many bytes come. Raises ClusterError, OSError, EOFError, ProtocolError."""
    connection.send(FetchFile(name, position))
    answer = connection.receive(ANSWER_TIMEOUT_S)
    if not isinstance(answer, Bulk):
        raise ClusterError(f"its worker has no {name}")
    return answer.bytes
