"""Fetches the outputs of parent tasks: from the disk of this host, or over their worker's data
port.

Must not know what is done with them. What cannot be read is named by its attempt, so that only the
tasks that made it run again.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Self

from minispark.compute import documented
from minispark.compute.batch import Batch, batch_of
from minispark.compute.blocks import decode_blocks, read_blocks
from minispark.errors import CorruptBlock, FetchError, ProtocolError
from minispark.model.plan import OutputLocation
from minispark.storage.task_files import (
    SHUFFLE_FILE,
    attempt_dir,
    locate_block,
    open_below,
    range_reader,
)
from minispark.transport.connection import Connection
from minispark.transport.messages import Bulk, FetchBlock, FetchFile, Message, Missing

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
PATIENCE_S = 3.0
"""How long one task waits, in all, for workers that refuse connections: they may be starting."""
RETRY_MIN_S = 0.05
RETRY_MAX_S = 0.5

Address = tuple[str, int]


class Fetcher:
    """Reads outputs for one task; its connections live as long as it does."""

    def __init__(
        self,
        host_id: str,
        token: str,
        short_circuit: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host_id = host_id
        self._token = token
        self._tls = tls
        self._short_circuit = short_circuit
        self._connections: dict[Address, Connection] = {}
        self._silent: dict[Address, Exception] = {}
        """Where nobody answered, and how that showed: what else lies there is lost at once."""
        self._patience_s = PATIENCE_S
        self.bytes_read = 0
        self.has_failed = False
        """Whether some output could not be read: nobody needs to wait for others then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def blocks(self, locations: Iterable[OutputLocation], partition: int) -> Iterator[Batch]:
        """The records of the blocks for `partition` of every output. Raises FetchError."""
        return self._each((place, partial(self._blocks, place, partition)) for place in locations)

    def documented(
        self,
        wanted: Iterable[tuple[OutputLocation, str]],
        partition: int,
        cached: Callable[[OutputLocation], Iterator[Batch] | None] = lambda _: None,
    ) -> Iterator[Batch]:
        """The records of a documented file of every output, by its name; from the blocks for
        `partition` that lie beside it, where one of our own workers wrote it, or as `cached` has
        them. Raises FetchError.
        """

        def blocks(place: OutputLocation) -> Iterator[Batch]:
            found = cached(place)
            return self._blocks(place, partition) if found is None else found

        return self._each(
            (
                place,
                partial(self._file, place, name) if place.is_foreign else partial(blocks, place),
            )
            for place, name in wanted
        )

    def _each(
        self, reads: Iterable[tuple[OutputLocation, Callable[[], Iterator[Batch]]]]
    ) -> Iterator[Batch]:
        """What the reads give, in order, one batch at a time.

        After the first one that fails the rest is only tried, and FetchError names them all.
        """
        lost: list[str] = []
        first_error: Exception | None = None
        count = 0
        for location, read in reads:
            count += 1
            try:
                for batch in read():
                    if first_error is None:
                        yield batch
            except (OSError, EOFError, ProtocolError, CorruptBlock) as error:
                lost.append(location.attempt_id)
                first_error = first_error or error
                self.has_failed = True
        if first_error is not None:
            names = f"{len(lost)} of {count} outputs cannot be fetched: {first_error}"
            raise FetchError(names, tuple(lost)) from first_error

    # --- near and far ------------------------------------------------------------------------

    def _is_near(self, location: OutputLocation) -> bool:
        return self._short_circuit and location.host_id == self._host_id

    def _blocks(self, location: OutputLocation, partition: int) -> Iterator[Batch]:
        if not self._is_near(location):
            data = self._ask(location, FetchBlock(location.attempt_id, partition))
            self.bytes_read += len(data)
            yield from decode_blocks(data)
            return
        fd = open_below(attempt_dir(location.state_dir, location.attempt_id), SHUFFLE_FILE)
        try:
            offset, size = locate_block(fd, partition)
            self.bytes_read += size
            yield from read_blocks(range_reader(fd, offset, size))
        finally:
            os.close(fd)

    def _file(self, location: OutputLocation, name: str) -> Iterator[Batch]:
        if self._is_near(location):
            with os.fdopen(open_below(location.state_dir, name), "rb") as file:
                data = file.read()
        else:
            data = self._ask(location, FetchFile(name))
        self.bytes_read += len(data)
        yield batch_of(documented.parse(data))

    def _ask(self, location: OutputLocation, question: Message) -> bytes:
        """The answer's bytes.

        Raises CorruptBlock when the worker has nothing like that, and as `_connect` does.
        """
        address = (location.host, location.port)
        try:
            return self._exchange(address, question)
        except (ConnectionError, EOFError):
            # it ended between two questions: it starts again, or it is full and ended whoever had
            # waited longest
            self._hang_up(address)
            return self._exchange(address, question)

    def _exchange(self, address: Address, question: Message) -> bytes:
        connection = self._connect(address)
        try:
            connection.send(question)
            match connection.receive(ANSWER_TIMEOUT_S):
                case Bulk(size):
                    return connection.receive_bulk(size, ANSWER_TIMEOUT_S)
                case Missing(message):
                    raise CorruptBlock(message)
                case answer:
                    raise ProtocolError(f"a data server does not answer {type(answer).__name__}")
        except (TimeoutError, ProtocolError) as error:
            self._hang_up(address)
            self._silent[address] = error
            raise

    def _connect(self, address: Address) -> Connection:
        """The connection to a data server. Raises OSError, EOFError, ProtocolError: nobody answers
        there, and nobody will be asked again.
        """
        connection = self._connections.get(address)
        if connection is not None:
            return connection
        if address in self._silent:
            reason = self._silent[address]
            raise ConnectionError(f"{address[0]}:{address[1]}: {reason}") from reason
        wait_s = RETRY_MIN_S
        while True:
            try:
                connection = Connection.connect(*address, self._token, CONNECT_TIMEOUT_S, self._tls)
            except (OSError, EOFError, ProtocolError) as error:
                # refused, or hung up on: a worker that starts again is there in a moment
                is_starting = isinstance(error, (ConnectionError, EOFError))
                if not is_starting or self._patience_s <= 0:
                    self._silent[address] = error
                    raise
            else:
                self._connections[address] = connection
                return connection
            time.sleep(wait_s)
            self._patience_s -= wait_s
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    def _hang_up(self, address: Address) -> None:
        connection = self._connections.pop(address, None)
        if connection is not None:
            connection.close()
