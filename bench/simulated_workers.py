"""Workers that are only a session: over real sockets, in the real protocol, they say of every order
at once that it was done. What is left is what the master costs.
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
        links = [_link(port, token, number, slots) for number in range(count)]
        for link in links:
            link.follow_clock(time.monotonic())
            assert link.channel is not None
            selector.register(link.channel, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        heartbeat_at = 0.0
        while True:
            for key, mask in selector.select(HEARTBEAT_S):
                _turn(key.data, bool(mask & selectors.EVENT_WRITE))
                wanted = selectors.EVENT_READ
                if key.data.wants_write:
                    wanted |= selectors.EVENT_WRITE
                if key.events != wanted:
                    selector.modify(key.fileobj, wanted, key.data)
            now = time.monotonic()
            if now >= heartbeat_at:
                heartbeat_at = now + HEARTBEAT_S
                for link in links:
                    if link.is_registered:
                        link.send(msg.Heartbeat("", 0))


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


def _turn(link: MasterLink, is_writable: bool) -> None:
    for message in link.receive(is_writable):
        match message:
            case msg.Registered():
                link.is_registered = True
            case msg.Launch(orders):
                for order in orders:
                    link.report(msg.Started(order.attempt_id))
                    link.report(msg.Succeeded(order.attempt_id, DONE))
            case msg.Confirmed(number):
                link.confirmed(number)
            case msg.FindAttempts():
                link.send(msg.AttemptsFound(()))
            case _:
                pass  # to cancel, commit or delete something: nothing was written
    link.send_reports(time.monotonic(), is_full=False)
