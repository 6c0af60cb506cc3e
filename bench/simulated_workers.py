"""Workers that are only a session: over real sockets, in the real protocol, they say of every order
that it was done, as soon as what it reads is made. What is left is what the master costs.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from minispark.model.ids import NIL_ID
from minispark.model.plan import TaskOutcome
from minispark.transport import messages as msg
from minispark.worker.master_link import MasterLink

HEARTBEAT_S = 1.0
DONE = TaskOutcome(records=0, bytes_written=0)


@contextmanager
def simulated_workers(port: int, token: str, count: int, slots: int) -> Iterator[None]:
    """So many workers of a master on this host, in one process of their own."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_serve, args=(port, token, count, slots), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _serve(port: int, token: str, count: int, slots: int) -> None:
    with selectors.DefaultSelector() as selector:
        workers = [_Worker(_link(port, token, number, slots)) for number in range(count)]
        for worker in workers:
            worker.link.follow_clock(time.monotonic())
            assert worker.link.channel is not None
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            selector.register(worker.link.channel, both, worker)
        heartbeat_at = 0.0
        while True:
            for key, mask in selector.select(HEARTBEAT_S):
                key.data.turn(bool(mask & selectors.EVENT_WRITE))
                wanted = selectors.EVENT_READ
                if key.data.link.wants_write:
                    wanted |= selectors.EVENT_WRITE
                if key.events != wanted:
                    selector.modify(key.fileobj, wanted, key.data)
            now = time.monotonic()
            if now >= heartbeat_at:
                heartbeat_at = now + HEARTBEAT_S
                for worker in workers:
                    if worker.link.is_registered:
                        worker.link.send(msg.Heartbeat("", 0))


def _link(port: int, token: str, number: int, slots: int) -> MasterLink:
    registration = msg.Register(
        worker_id=NIL_ID,
        name=f"simulated-{number}",
        host="127.0.0.1",
        port=1,
        slots=slots,
        pid=os.getpid(),
        host_id=socket.gethostname(),
        state_dir=f"/nowhere/{number}",
    )
    return MasterLink("127.0.0.1", port, token, lambda: registration)


class _Worker:
    """Its session, and the orders that began early and miss something that they read."""

    def __init__(self, link: MasterLink) -> None:
        self.link = link
        self._missing: dict[str, set[tuple[int, int]]] = {}

    def turn(self, is_writable: bool) -> None:
        """Take in what came, and answer it."""
        for message in self.link.receive(is_writable):
            self._take_in(message)
        self.link.send_reports(time.monotonic(), is_full=False)

    def _take_in(self, message: msg.Message) -> None:
        match message:
            case msg.Registered():
                self.link.is_registered = True
            case msg.Launch(orders):
                for order in orders:
                    self.link.report(msg.Started(order.attempt_id))
                    self._missing[order.attempt_id] = set(order.awaited)
                    self._end_if_complete(order.attempt_id)
            case msg.OutputsMade(attempt_ids, outputs):
                made = {(output.stage_index, output.partition) for output in outputs}
                for attempt_id in attempt_ids:
                    if attempt_id in self._missing:
                        self._missing[attempt_id] -= made
                        self._end_if_complete(attempt_id)
            case msg.Cancel(attempt_ids):
                for attempt_id in attempt_ids:
                    self._missing.pop(attempt_id, None)
            case msg.Confirmed(number):
                self.link.confirmed(number)
            case msg.FindAttempts():
                self.link.send(msg.AttemptsFound(()))
            case _:
                pass  # to commit or delete something: nothing was written

    def _end_if_complete(self, attempt_id: str) -> None:
        if not self._missing[attempt_id]:
            del self._missing[attempt_id]
            self.link.report(msg.Succeeded(attempt_id, DONE))
