"""The agent's loop: master session, executors, timers and signals, in the worker's main thread.

It only carries messages; `agent_state.py` decides. Must not know what tasks do.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from typing import assert_never

from minispark.errors import ProtocolError
from minispark.metrics.worker_load import WorkerLoad
from minispark.metrics.worker_metrics import WorkerCounters
from minispark.storage.partition_cache import PartitionCache
from minispark.supervisor.notify import Notifier
from minispark.supervisor.process_memory import rss_bytes
from minispark.supervisor.supervisor import DRAIN_SIGNAL, INTERRUPTED, TERMINATED
from minispark.transport import messages as msg
from minispark.transport.channel import Channel
from minispark.worker import attempt_log
from minispark.worker.agent_state import (
    AgentState,
    DropFiles,
    Instruction,
    KillSlot,
    RunOnSlot,
    SendReport,
    TellSlot,
)
from minispark.worker.attempt_files import AttemptFiles
from minispark.worker.cache_channel import serve_cache
from minispark.worker.executor_server import Executor, ExecutorServer
from minispark.worker.identity import WorkerId
from minispark.worker.load_meter import LoadMeter
from minispark.worker.master_link import MasterLink
from minispark.worker.master_session import MasterSession, watch
from minispark.worker.output_tables import OutputTables
from minispark.worker.raw_prints import keep_prints
from minispark.worker.task_log import TaskLogs

DRAIN_SETTLE_S = 0.3
"""Orders and cancellations that were on their way when the master was told have arrived by then."""
MEASURE_INTERVAL_S = 0.2
"""How often the memory of executors is looked at."""
REFORK_DELAY_S = 0.2
"""After an executor that died before it got an order: a broken one must not spin."""

logger = logging.getLogger("minispark.worker")


class Agent:
    """One worker's loop."""

    def __init__(
        self,
        *,
        link: MasterLink,
        state: AgentState,
        server: ExecutorServer,
        worker_id: WorkerId,
        files: AttemptFiles,
        counters: WorkerCounters,
        cache: PartitionCache,
        task_logs: TaskLogs,
        heartbeat_interval_s: float,
        lifeline: int | None,
        notifier: Notifier,
    ) -> None:
        self._link = link
        self._state = state
        self._server = server
        self._worker_id = worker_id
        self._files = files
        self._counters = counters
        self._cache = cache
        self._task_logs = task_logs
        self._load_meter = LoadMeter(cache)
        self.load: WorkerLoad | None = None
        """What its processes used at the last heartbeat. Any thread may ask."""
        self._heartbeat_interval_s = heartbeat_interval_s
        self._lifeline = lifeline
        self._notifier = notifier
        self._selector = selectors.DefaultSelector()
        self._session = MasterSession(link, self._selector)
        self._tables = OutputTables()
        self._master: msg.MasterPlace | None = None
        """As it said last: orders come after that."""
        self._executors: dict[int, Executor] = {}
        self._refork_at: dict[int, float] = {}
        self._next_heartbeat = 0.0
        self._next_measure = 0.0
        self._is_stopping = False
        self._exit_code = 0
        self._is_draining = False
        """Told to end once nothing runs."""
        self._is_drain_said = False
        self._refuses_from = 0.0
        self._unwritten: str | None = None
        """Why its id could not be written, as the log has it."""

    @property
    def active_tasks(self) -> int:
        return self._state.active

    @property
    def executors(self) -> int:
        return len(self._executors)

    def run(self) -> int:
        """Serve until a signal, or the end of whoever started this worker."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_stop_signal)
        signal.signal(DRAIN_SIGNAL, self._on_drain_signal)
        if self._lifeline is None:
            for number in (signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                    signal.signal(number, self._on_stop_signal)
        self._selector.register(wake_read, selectors.EVENT_READ, "signal")
        self._selector.register(self._server, selectors.EVENT_READ, "server")
        if self._lifeline is not None:
            self._selector.register(self._lifeline, selectors.EVENT_READ, "lifeline")
        for slot in range(len(self._state.slots)):
            self._server.fork(slot, time.monotonic())
        try:
            while not self._is_stopping:
                self._turn()
        except (ProtocolError, EOFError) as error:
            logger.error("the worker stops: %s", error)
            self._notifier.send({"error": str(error)})
            return 1
        finally:
            signal.set_wakeup_fd(-1)
            self._server.stop()
        return self._exit_code

    def _on_stop_signal(self, number: int, _: object) -> None:
        self._stop()
        if self._lifeline is None and number == signal.SIGINT:
            self._exit_code = INTERRUPTED

    def _stop(self) -> None:
        self._is_stopping = True
        self._exit_code = TERMINATED if self._lifeline is not None else 0

    def _on_drain_signal(self, *_: object) -> None:
        self._is_draining = True

    # --- one turn --------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        self._session.seek(now)
        self._watch_writes()
        for key, mask in self._selector.select(self._timeout(now)):
            now = time.monotonic()
            match key.data:
                case "signal":
                    os.read(key.fd, 4096)
                case "lifeline":
                    logger.warning("the supervisor is gone; the worker stops")
                    self._is_stopping = True
                case "server":
                    self._hear_server(now)
                case "master":
                    for message in self._session.hear(mask, now):
                        self._take(message, now)
                case Executor() as executor if executor.is_heard:
                    if mask & selectors.EVENT_WRITE:
                        executor.flush()
                    self._hear_executor(executor, now)
        now = time.monotonic()
        self._follow(self._state.clock(now), now)
        if now >= self._next_measure:
            self._next_measure = now + MEASURE_INTERVAL_S
            self._measure(now)
        for slot, due in list(self._refork_at.items()):
            if now >= due:
                del self._refork_at[slot]
                self._server.fork(slot, now)
        if self._link.is_registered and now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_interval_s
            self.load = self._load_meter.measure(
                {one.pid: one.inherited_bytes for one in self._executors.values()}
            )
            self._link.send(msg.Heartbeat(self._worker_id.value, self._state.active, self.load))
        for executor in self._executors.values():
            executor.send()
        self._link.send_reports(now, self._state.is_full)
        if self._server.questions.is_stuck(now):
            # it may be stopped. Its end ends this worker, and the supervisor starts another
            logger.error("the executor server does not answer; it is killed")
            self._server.kill_server()
        if self._is_draining:
            self._drain()

    def _drain(self) -> None:
        """Tell the master once, if there is one; end when nothing runs and every report is
        confirmed.
        """
        if self._link.is_registered and not self._is_drain_said:
            self._is_drain_said = True
            logger.info("draining: the worker ends once nothing runs")
            self._link.flush_reports(time.monotonic())
            self._link.send(msg.Draining())
            self._refuses_from = time.monotonic() + DRAIN_SETTLE_S
        is_idle = self._state.active == 0 and not self._link.unsent
        if is_idle and time.monotonic() >= self._refuses_from:
            self._stop()

    def _measure(self, now: float) -> None:
        """How much memory the executors use that work."""
        for slot, executor in list(self._executors.items()):
            if self._state.slots[slot].run is not None:
                own_bytes = rss_bytes(executor.pid) - executor.inherited_bytes
                self._follow(self._state.measured(slot, own_bytes), now)

    def _timeout(self, now: float) -> float:
        due = [self._next_heartbeat if self._link.is_registered else now + 1.0]
        if self._link.reports_due is not None:
            due.append(self._link.reports_due)
        if self._link.due is not None:
            due.append(self._link.due)
        deadline = self._state.next_deadline()
        if deadline is not None:  # something runs
            due += [deadline, self._next_measure]
        if self._is_draining:
            due.append(now + DRAIN_SETTLE_S)
        due.extend(self._refork_at.values())
        due.extend(self._server.questions.due)
        return max(0.0, min(due) - now)

    def _watch_writes(self) -> None:
        """Wait for room where something is still to be sent."""
        self._session.watch_writes()
        for executor in self._executors.values():
            if executor.is_heard:
                watch(self._selector, executor.channel, executor.channel.wants_write)

    # --- executors ---------------------------------------------------------------------------

    def _hear_server(self, now: float) -> None:
        for message in self._server.receive():
            if "slot" in message:
                channel = Channel(message["sock"], on_want_write=lambda: None)
                serve_cache(message["cache"], self._cache)
                keep_prints(message["prints"], self._task_logs)
                inherited = rss_bytes(message["pid"])
                executor = Executor(message["slot"], message["pid"], channel, now, inherited)
                self._executors[executor.slot] = executor
                self._selector.register(channel, selectors.EVENT_READ, executor)
                self._follow(self._state.executor_ready(executor.slot, now), now)
            else:
                self._bury(message["dead"], message["how"], now)

    def _bury(self, pid: int, how: str, now: float) -> None:
        executor = next((e for e in self._executors.values() if e.pid == pid), None)
        if executor is None:
            return
        if executor.is_heard:
            self._selector.unregister(executor.channel)
            executor.is_heard = False
        for message in executor.channel.drain():  # what it said before it died counts
            self._take_ending(executor, message, now)
        del self._executors[executor.slot]
        executor.channel.close()
        place = self._state.slots[executor.slot]
        was_idle = place.is_ready and place.run is None
        begun_at = place.started_at
        attempt_log.executor_gone(place.run, executor.slot, pid, how, place.killed_for)
        run, instructions = place.run, self._state.executor_died(executor.slot, how, now)
        for one in instructions:
            failed = one.report if isinstance(one, SendReport) else None
            if isinstance(failed, msg.Failed) and run and failed.attempt_id == run.order.attempt_id:
                self._task_logs.failed(run.order, failed.error)  # its executor cannot
        self._follow(instructions, now, begun_at)
        if was_idle and now - executor.forked_at < REFORK_DELAY_S:
            self._refork_at[executor.slot] = now + REFORK_DELAY_S
        else:
            self._server.fork(executor.slot, now)

    def _hear_executor(self, executor: Executor, now: float) -> None:
        try:
            messages = executor.channel.receive()
        except (EOFError, OSError):
            # its death is announced by the server, which knows how it came
            self._selector.unregister(executor.channel)
            executor.is_heard = False
            self._server.expect_death(executor.pid, now)
            return
        for message in messages:
            self._take_ending(executor, message, now)
        if executor.is_retiring and self._state.slots[executor.slot].run is None:
            self._retire(executor, now)

    def _retire(self, executor: Executor, now: float) -> None:
        """It ends by itself: do not wait for that."""
        self._selector.unregister(executor.channel)
        executor.is_heard = False
        del self._executors[executor.slot]
        executor.channel.close()
        self._server.expect_death(executor.pid, now)
        self._server.fork(executor.slot, now)

    def _take_ending(self, executor: Executor, message: msg.Message, now: float) -> None:
        if isinstance(message, msg.Retiring):
            executor.is_retiring = True
            self._state.retiring(executor.slot)
            return
        assert isinstance(message, msg.Ending)
        place = self._state.slots[executor.slot]
        begun_at = place.started_at
        attempt_log.ended(place.run, message, now - begun_at)
        self._follow(self._state.finished(executor.slot, message, now), now, begun_at)

    # --- the master ----------------------------------------------------------------------------

    def _take(self, message: msg.Message, now: float) -> None:
        match message:
            case msg.Registered():
                self._registered(message, now)
            case msg.Launch() if not self._link.is_registered:
                pass  # for an earlier session; the master counts its orders as lost
            case msg.Launch():
                self._follow(self._state.launched(self._tables.runs(message), now), now)
            case msg.OutputsMade():
                self._follow(self._state.outputs_made(message, now), now)
            case msg.ForgetTables(job_id):
                self._tables.forget(job_id)
            case msg.Cancel(attempt_ids):
                self._follow(self._state.cancelled(attempt_ids), now)
            case msg.Drop(attempt_ids):
                self._cache.drop_attempts(attempt_ids)
                self._files.drop_later(attempt_ids)
            case _ if self._session.answer(message, self._files):
                pass
            case _:
                raise ProtocolError(f"a master does not send {type(message).__name__}")

    def _registered(self, message: msg.Registered, now: float) -> None:
        self._heartbeat_interval_s = message.heartbeat_interval_s
        self._state.task_timeout_s = message.task_timeout_s
        self._master = msg.MasterPlace(message.host_id, self._link.host, message.http_port)
        self._tables.begin_session()
        self._link.is_registered = True
        self._is_drain_said = False
        self._next_heartbeat = now
        logger.info("registered as %s", message.worker_id)
        self._follow(self._state.registered(message.forget), now)
        self._notifier.send({"ready": True})
        self._keep_id(message.worker_id)

    def _keep_id(self, worker_id: str) -> None:
        """Without its file the id is good for this process; that is said once."""
        try:
            self._worker_id.keep(worker_id)
        except OSError as error:
            if self._unwritten != str(error):
                self._unwritten = str(error)
                logger.error("%s", message := f"its id cannot be kept: {error}")
                self._notifier.send({"error": message})

    # --- what the state decided ------------------------------------------------------------------

    def _follow(
        self, instructions: list[Instruction], now: float, begun_at: float | None = None
    ) -> None:
        """`begun_at`: of the attempt whose end brought them."""
        for instruction in instructions:
            match instruction:
                case RunOnSlot(slot, run):
                    attempt_log.begun(run, slot)
                    assert self._master is not None
                    self._executors[slot].add(run, self._master)
                case TellSlot(slot, made):
                    self._executors[slot].tell(made)
                case KillSlot(slot):
                    self._server.kill(self._executors[slot].pid, now)
                case SendReport(report):
                    self._count(report, now, begun_at)
                    self._link.report(report)
                case DropFiles(attempt_id):
                    self._cache.drop_attempts((attempt_id,))
                    self._files.drop(attempt_id)
                case _:
                    assert_never(instruction)

    def _count(self, report: msg.Report, now: float, begun_at: float | None) -> None:
        """What the master hears of is counted, and nothing else: so both say the same."""
        if not isinstance(report, (msg.Succeeded, msg.Failed, msg.FetchFailed)):
            return
        is_injected = isinstance(report, msg.Failed) and report.kind == "injected"
        ran_s = 0.0 if begun_at is None or is_injected else now - begun_at
        is_success = isinstance(report, msg.Succeeded)
        records = report.outcome.records if isinstance(report, msg.Succeeded) else 0
        self._counters.count(is_success, records, 1000.0 * ran_s, now)
