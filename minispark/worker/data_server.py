"""The data port: serves shuffle blocks and documented files of this worker, straight from the file.

One thread a connection; `guests.py` says who may stay. Must not know what is fetched for what.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time

from minispark.errors import CorruptBlock, ProtocolError
from minispark.storage.task_files import (
    SHUFFLE_FILE,
    attempt_dir,
    locate_block,
    open_below,
)
from minispark.transport.accepting import ACCEPT_PAUSE_S, Acceptor
from minispark.transport.connection import Connection
from minispark.transport.messages import Bulk, FetchBlock, FetchFile, Message, Missing
from minispark.transport.tls import serve_tls
from minispark.worker.guests import Guests

HANDSHAKE_TIMEOUT_S = 2.0
IDLE_TIMEOUT_S = 120.0
STALL_TIMEOUT_S = 30.0
"""A fetcher that reads nothing of what it is sent is given up after this."""

logger = logging.getLogger("minispark.worker")


class DataServer:
    """Accepts on a listening socket from a background thread, until that socket is closed."""

    def __init__(
        self,
        sock: socket.socket,
        state_dir: str,
        token: str,
        guests: Guests,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._acceptor = Acceptor(sock, "data", logger)
        self._state_dir = state_dir
        self._token = token
        self._tls = tls
        self._guests = guests
        self._thread = threading.Thread(target=self._accept, name="data", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                taken = self._acceptor.accept()
            except OSError:
                return  # closed: the worker stops
            if taken is not None:
                self._serve_in_thread(taken[0])
            if self._acceptor.is_exhausted:
                time.sleep(ACCEPT_PAUSE_S)

    def _serve_in_thread(self, sock: socket.socket) -> None:
        if self._tls is not None:
            try:
                sock = serve_tls(sock, self._tls)
            except OSError:
                return  # its peer has gone already
        self._guests.arrive(sock)
        try:
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        except RuntimeError as error:
            self._guests.leave(sock)
            sock.close()
            self._acceptor.exhausted(error)

    def _serve(self, sock: socket.socket) -> None:
        try:
            connection = Connection.accept(sock, self._token, HANDSHAKE_TIMEOUT_S)
            try:
                self._guests.admit(sock)
                while True:
                    question = connection.receive(IDLE_TIMEOUT_S)
                    with self._guests.serving(sock):
                        self._answer(connection, question)
            except ProtocolError as error:
                connection.refuse(error)
                raise
            finally:
                connection.close()
        except ProtocolError as error:
            logger.warning("a peer at the data port was refused: %s", error)
        except (OSError, EOFError):
            pass  # the peer is done, or gone
        finally:
            self._guests.leave(sock)

    def _answer(self, connection: Connection, question: Message) -> None:
        try:
            fd, offset, count = self._find(question)
        except (OSError, CorruptBlock) as error:
            connection.send(Missing(str(error)))
            return
        try:
            connection.send(Bulk(count))
            connection.send_file(fd, offset, count, STALL_TIMEOUT_S)
        finally:
            os.close(fd)

    def _find(self, question: Message) -> tuple[int, int, int]:
        """(descriptor, offset, bytes) of what is asked for."""
        match question:
            case FetchBlock(attempt_id, partition):
                fd = open_below(attempt_dir(self._state_dir, attempt_id), SHUFFLE_FILE)
                try:
                    return (fd, *locate_block(fd, partition))
                except BaseException:
                    os.close(fd)
                    raise
            case FetchFile(name, offset):
                fd = open_below(self._state_dir, name)
                size = os.fstat(fd).st_size
                begin = min(max(0, offset), size)
                return fd, begin, size - begin
            case _:
                raise ProtocolError(f"the data port does not take {type(question).__name__}")
