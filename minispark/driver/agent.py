"""The driver's loop: its session with the master, its jobs, timers and signals, in the main thread.

It only carries messages; `driven_job.py` decides. Must not know Spark.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from queue import Empty, SimpleQueue

from minispark.driver.jobs import Jobs
from minispark.errors import ProtocolError
from minispark.spark.job_thread import RunEnded
from minispark.supervisor.notify import Notifier
from minispark.supervisor.supervisor import TERMINATED
from minispark.transport import messages as msg
from minispark.worker.attempt_files import AttemptFiles
from minispark.worker.identity import WorkerId
from minispark.worker.master_link import MasterLink
from minispark.worker.master_session import MasterSession

LOOK_INTERVAL_S = 0.1
"""How often it is looked at what Spark's tasks did, while some run."""
LOOKS_SHARE = 20
"""Where there are so many that a look takes long, so many times that until the next one."""

logger = logging.getLogger("minispark.driver")


class DriverAgent:
    """One driver's loop."""

    def __init__(
        self,
        *,
        link: MasterLink,
        jobs: Jobs,
        ends: RunEnds,
        worker_id: WorkerId,
        files: AttemptFiles,
        heartbeat_interval_s: float,
        lifeline: int,
        notifier: Notifier,
    ) -> None:
        self._link = link
        self._jobs = jobs
        self._ends = ends
        self._worker_id = worker_id
        self._files = files
        self._heartbeat_interval_s = heartbeat_interval_s
        self._lifeline = lifeline
        self._notifier = notifier
        self._selector = selectors.DefaultSelector()
        self._session = MasterSession(link, self._selector)
        self._next_heartbeat = 0.0
        self._next_look = 0.0
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until a signal, or the end of the supervisor; returns the exit status."""
        signal.set_wakeup_fd(self._ends.wake_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_stop_signal)
        self._selector.register(self._ends, selectors.EVENT_READ, "ends")
        self._selector.register(self._lifeline, selectors.EVENT_READ, "lifeline")
        try:
            while self._exit_code is None:
                self._turn()
        except ProtocolError as error:
            logger.error("the driver stops: %s", error)
            self._notifier.send({"error": str(error)})
            return 1
        finally:
            signal.set_wakeup_fd(-1)
        return self._exit_code

    def _on_stop_signal(self, *_: object) -> None:
        self._exit_code = TERMINATED

    def _turn(self) -> None:
        now = time.monotonic()
        self._session.seek(now)
        self._session.watch_writes()
        for key, mask in self._selector.select(self._timeout(now)):
            now = time.monotonic()
            match key.data:
                case "ends":
                    for ended in self._ends.take():
                        self._report(self._jobs.ended(ended))
                case "lifeline":
                    logger.warning("the supervisor is gone; the driver stops")
                    self._exit_code = 0
                case "master":
                    for message in self._session.hear(mask, now):
                        self._take(message, now)
        now = time.monotonic()
        if not self._jobs.is_idle and now >= self._next_look:
            self._report(self._jobs.look())
            took_s = time.monotonic() - now
            self._next_look = now + max(LOOK_INTERVAL_S, LOOKS_SHARE * took_s)
        if self._link.is_registered and now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_interval_s
            self._link.send(msg.Heartbeat(self._worker_id.value, self._jobs.active))
        self._link.send_reports(now, is_full=False)

    def _timeout(self, now: float) -> float:
        due = [self._next_heartbeat if self._link.is_registered else now + 1.0]
        due += [d for d in (self._link.due, self._link.reports_due) if d is not None]
        if not self._jobs.is_idle:
            due.append(self._next_look)
        return max(0.0, min(due) - now)

    def _report(self, reports: list[msg.Report]) -> None:
        for report in reports:
            self._link.report(report)

    def _take(self, message: msg.Message, now: float) -> None:
        match message:
            case msg.Registered():
                self._registered(message, now)
            case msg.Drive() if not self._link.is_registered:
                pass  # for an earlier session; the master counts its orders as lost
            case msg.Drive():
                self._report(self._jobs.drive(message))
            case msg.ForgetTables(job_id):
                self._jobs.end(job_id)
            case msg.Cancel(attempt_ids):
                self._jobs.give_up(attempt_ids)
            case msg.Drop(attempt_ids):
                self._files.drop_later(attempt_ids)
            case _ if self._session.answer(message, self._files):
                pass
            case _:
                raise ProtocolError(f"a driver is not sent {type(message).__name__}")

    def _registered(self, message: msg.Registered, now: float) -> None:
        self._heartbeat_interval_s = message.heartbeat_interval_s
        self._jobs.task_timeout_s = message.task_timeout_s
        self._jobs.begin_session(message.driven)
        self._jobs.give_up(message.forget)
        self._link.is_registered = True
        self._next_heartbeat = now
        logger.info("registered as %s", message.worker_id)
        self._notifier.send({"ready": True})
        try:
            self._worker_id.keep(message.worker_id)
        except OSError as error:
            logger.error("its id cannot be kept: %s", error)


class RunEnds:
    """What other threads tell the loop: it wakes, and takes all in its turn."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[RunEnded] = SimpleQueue()
        self._wake_read, self.wake_fd = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self.wake_fd, False)

    def fileno(self) -> int:
        return self._wake_read

    def put(self, ended: RunEnded) -> None:
        """From any thread."""
        self._queue.put(ended)
        try:
            os.write(self.wake_fd, b"w")
        except BlockingIOError:
            pass  # it is awake already

    def take(self) -> list[RunEnded]:
        """In the thread of the loop."""
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        found: list[RunEnded] = []
        try:
            while True:
                found.append(self._queue.get_nowait())
        except Empty:
            return found
