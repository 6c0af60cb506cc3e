"""Fetches the outputs of parent tasks: from the disk of this host, or over their worker's data
port.

Must not know what is done with them. What cannot be read is named by its attempt, so that only the
tasks that made it run again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Self

from minispark.compute.blocks import Column, Keys, decode_block
from minispark.errors import CorruptBlock, FetchError, ProtocolError
from minispark.model.plan import OutputLocation
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir, open_below, read_block
from minispark.transport.connection import Connection
from minispark.transport.messages import Bulk, FetchBlock, FetchFile, Message, Missing

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0


class Fetcher:
    """Reads outputs for one task; its connections live as long as it does."""

    def __init__(self, host_id: str, token: str, short_circuit: bool) -> None:
        self._host_id = host_id
        self._token = token
        self._short_circuit = short_circuit
        self._connections: dict[tuple[str, int], Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def blocks(
        self, locations: list[OutputLocation], partition: int
    ) -> Iterator[tuple[Keys, Column]]:
        """The columns of the block for `partition` of every output, in order, one at a time.

        After the first one that cannot be read the rest is only tried, and FetchError names them
        all.
        """
        lost: list[str] = []
        first_error: Exception | None = None
        for location in locations:
            try:
                block = decode_block(self._block(location, partition))
            except (OSError, EOFError, ProtocolError, CorruptBlock) as error:
                lost.append(location.attempt_id)
                first_error = first_error or error
                self._forget(location)
            else:
                if first_error is None:
                    yield block
        if first_error is not None:
            names = f"{len(lost)} of {len(locations)} map outputs cannot be fetched: {first_error}"
            raise FetchError(names, tuple(lost)) from first_error

    def file(self, location: OutputLocation, name: str) -> bytes:
        """A documented file of an output. Raises FetchError."""
        try:
            if self._is_near(location):
                with os.fdopen(open_below(location.state_dir, name), "rb") as file:
                    return file.read()
            return self._ask(location, FetchFile(name))
        except (OSError, EOFError, ProtocolError) as error:
            self._forget(location)
            raise FetchError(
                f"{name} cannot be fetched: {error}", (location.attempt_id,)
            ) from error

    # --- near and far ------------------------------------------------------------------------

    def _is_near(self, location: OutputLocation) -> bool:
        return self._short_circuit and location.host_id == self._host_id

    def _block(self, location: OutputLocation, partition: int) -> bytes:
        if not self._is_near(location):
            return self._ask(location, FetchBlock(location.attempt_id, partition))
        fd = open_below(attempt_dir(location.state_dir, location.attempt_id), SHUFFLE_FILE)
        try:
            return read_block(fd, partition)
        finally:
            os.close(fd)

    def _ask(self, location: OutputLocation, question: Message) -> bytes:
        try:
            return self._answer(self._connect(location), question)
        except (EOFError, ConnectionError):
            self._forget(location)  # a data server that is full ends whoever has waited longest
            return self._answer(self._connect(location), question)

    @staticmethod
    def _answer(connection: Connection, question: Message) -> bytes:
        connection.send(question)
        match connection.receive(ANSWER_TIMEOUT_S):
            case Bulk(size):
                return connection.receive_bulk(size, ANSWER_TIMEOUT_S)
            case Missing(message):
                raise FileNotFoundError(message)
            case answer:
                raise ProtocolError(f"a data server does not answer {type(answer).__name__}")

    def _connect(self, location: OutputLocation) -> Connection:
        address = (location.host, location.port)
        connection = self._connections.get(address)
        if connection is None:
            connection = Connection.connect(*address, self._token, CONNECT_TIMEOUT_S)
            self._connections[address] = connection
        return connection

    def _forget(self, location: OutputLocation) -> None:
        connection = self._connections.pop((location.host, location.port), None)
        if connection is not None:
            connection.close()
