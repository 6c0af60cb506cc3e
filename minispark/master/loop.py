"""The loop thread: it alone owns the scheduling core, and drains one queue of events.

A batch of events is handled, made durable in one transaction, published, and only then carried out
and answered. While the journal cannot be written the batch is held and nothing more is taken in.
Must not know sockets or HTTP.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from minispark.errors import ClusterError
from minispark.master.board import SnapshotBoard
from minispark.model.effects import (
    AnswerTaskRequest,
    AppendJournal,
    Effect,
    Fact,
    ForgetJob,
    JobMoved,
)
from minispark.model.events import ClockTicked, Event, TaskRequested
from minispark.scheduling.core import SchedulingCore
from minispark.storage.database_errors import remedy

BATCH_MAX = 2048
"""Events in one transaction: a bound on how long a commit makes the others wait."""
TICK_S = 0.25
PUBLISH_INTERVAL_S = 0.05
"""At most 20 snapshots a second, unless somebody waits for one."""
WRITE_RETRY_S = 0.5
ANSWER_TIMEOUT_S = 30.0
BLOCKED_POLL_S = 0.1
"""How soon those who wait already learn that the journal cannot be written."""

logger = logging.getLogger("minispark.master")


class JournalBlocked(ClusterError):
    """The journal cannot be written now (a full disk); nothing is taken in until it can."""


class EventHeld(JournalBlocked):
    """An event is not durable yet. It may still become so: whether it did must be looked up."""


class Reply:
    """What a thread waits on after it asked: its event was handled, durable and published."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.answer: AnswerTaskRequest | None = None

    def complete(self) -> None:
        self._done.set()

    @property
    def is_complete(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it came in time."""
        return self._done.wait(timeout_s)


@dataclass(frozen=True, slots=True)
class _Call:
    key: str
    call: Callable[[], None]


class MasterLoop:
    """Runs `core` in a thread of its own."""

    def __init__(
        self,
        core: SchedulingCore,
        write: Callable[[list[Fact | ForgetJob]], None],
        perform: Callable[[list[Effect]], None],
        board: SnapshotBoard,
        on_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._write = write
        self._perform = perform
        self._board = board
        self._on_failure = on_failure
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[Event, Reply | None] | _Call | None]
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="core")
        self._is_stopping = threading.Event()
        self._restored: list[Effect] = []
        self._last_tick = 0.0
        self._last_publish = 0.0
        self.blocked_by: str | None = None
        """Why the journal cannot be written, while it cannot. Written by the loop thread only."""

    def start(self, restored: list[Effect]) -> None:
        """`restored`: what the core asks for about the jobs of an earlier master.

        Readers see these jobs at once, even while nothing can be written; what follows from the
        journal will follow again should this master end before it is durable.
        """
        self._board.publish(self._core.snapshot())
        self._restored = restored
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Handle what is queued, then end the thread."""
        self._is_stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # --- any thread ------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        self._queue.put((event, None))

    def call_when_durable(self, key: str, call: Callable[[], None]) -> None:
        """Call once all that was posted so far is durable; of several with one key the last."""
        self._queue.put(_Call(key, call))

    def ask(self, event: Event) -> AnswerTaskRequest | None:
        """Return when the event was handled, durable and published.

        Raises JournalBlocked while the journal cannot be written, EventHeld when that came to
        light only after the event was taken in.
        """
        if self.blocked_by is not None:
            raise JournalBlocked(f"the journal cannot be written: {self.blocked_by}")
        reply = Reply()
        self._queue.put((event, reply))
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not reply.wait(BLOCKED_POLL_S):
            why = self.blocked_by
            if why is None and time.monotonic() > deadline:
                why = f"the master is {ANSWER_TIMEOUT_S:g} s behind"
            if why is not None:
                raise EventHeld(f"this is held, and may still be accepted: {why}")
        return reply.answer

    # --- the loop thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self.carry_out(self._restored, [])
            is_last = False
            while not is_last:
                batch, calls, is_last = self._take_batch()
                self.handle(batch)
                for call in calls:
                    call()
        except BaseException:
            logger.critical("the scheduling core failed; the master stops", exc_info=True)
            self._on_failure()
            raise

    def _take_batch(
        self,
    ) -> tuple[list[tuple[Event, Reply | None]], list[Callable[[], None]], bool]:
        """Wait for an event, a tick or a due publication; take what is queued."""
        now = self._clock()
        due = self._last_tick + TICK_S
        core_due = self._core.next_due
        if core_due is not None:
            due = min(due, core_due)
        if self._core.is_changed:
            due = min(due, self._last_publish + PUBLISH_INTERVAL_S)
        batch: list[tuple[Event, Reply | None]] = []
        calls: dict[str, Callable[[], None]] = {}
        is_last = False
        try:
            item = self._queue.get(timeout=max(0.0, due - now))
            while True:
                if item is None:
                    is_last = True
                    break
                if isinstance(item, _Call):
                    calls[item.key] = item.call
                else:
                    batch.append(item)
                if len(batch) >= BATCH_MAX:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        now = self._clock()
        if now >= self._last_tick + TICK_S or (core_due is not None and now >= core_due):
            self._last_tick = now
            batch.append((ClockTicked(time.time()), None))
        return batch, list(calls.values()), is_last

    def handle(self, batch: list[tuple[Event, Reply | None]]) -> None:
        """Take the events in, make them durable, carry out what follows, and answer: in that
        order. For the loop thread, and for the simulation, which has none.
        """
        effects = self._core.handle_all([event for event, _ in batch], self._clock())
        asked = [(event, reply) for event, reply in batch if reply is not None]
        if asked:
            answers = {e.request_id: e for e in effects if isinstance(e, AnswerTaskRequest)}
            for event, reply in asked:
                if isinstance(event, TaskRequested):
                    reply.answer = answers[event.request_id]
        self.carry_out(effects, [reply for _, reply in asked])

    def carry_out(self, effects: list[Effect], replies: list[Reply]) -> None:
        """Make durable, publish, perform, answer."""
        facts = journal_of(effects)
        if facts:
            self._make_durable(facts)
        self._publish(effects, bool(replies))
        self._perform(effects)
        for reply in replies:
            reply.complete()

    def _make_durable(self, facts: list[Fact | ForgetJob]) -> None:
        """Write the facts, however long it takes: nothing that they justify may happen before.

        Only what can pass is waited for. Any other error is a broken invariant, or a damaged file.
        """
        while True:
            try:
                self._write(facts)
            except sqlite3.Error as error:
                if remedy(error) is None:
                    raise
                if self.blocked_by is None:
                    logger.error("the journal cannot be written, work is held: %s", error)
                self.blocked_by = str(error)
                if self.pause():
                    raise
            else:
                if self.blocked_by is not None:
                    logger.info("the journal can be written again")
                    self.blocked_by = None
                return

    def pause(self) -> bool:
        """Wait until the journal is tried again; whether the loop is to stop instead. The
        simulation has its own, in which only virtual time passes.
        """
        return self._is_stopping.wait(WRITE_RETRY_S)

    def _publish(self, effects: list[Effect], is_awaited: bool) -> None:
        if not self._core.is_changed:
            return
        now = self._clock()
        is_urgent = is_awaited or any(
            isinstance(effect, AppendJournal) and isinstance(effect.fact, JobMoved)
            for effect in effects
        )
        if is_urgent or now - self._last_publish >= PUBLISH_INTERVAL_S:
            self._last_publish = now
            self._board.publish(self._core.snapshot())


def journal_of(effects: list[Effect]) -> list[Fact | ForgetJob]:
    """What of the effects must be durable, in order."""
    facts: list[Fact | ForgetJob] = []
    for effect in effects:
        if isinstance(effect, AppendJournal):
            facts.append(effect.fact)
        elif isinstance(effect, ForgetJob):
            facts.append(effect)
    return facts
