"""Carries out the core's effects, in order. The journal has been written by then.

Must not know why they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from minispark.master.sessions import Sessions
from minispark.master.transitions import TransitionLog
from minispark.model import effects as fx
from minispark.transport import messages as msg

ORDERS_PER_PAGE = 2000
"""Of a job that Spark runs. Each may name many inputs: far fewer than a frame has room for."""


class Performer:
    """Sends what is to be sent, deletes what is to be deleted, has the log say what happened."""

    def __init__(
        self,
        sessions: Sessions,
        heartbeat_interval_s: float,
        task_timeout_s: float,
        host_id: str,
        http_port: int,
        delete_results: Callable[[str], None],
        order_parts: Callable[[fx.PublishParts | fx.DiscardParts], None],
        want_driver: Callable[[], None],
        transitions: TransitionLog,
    ) -> None:
        self._sessions = sessions
        self._heartbeat_interval_s = heartbeat_interval_s
        self._task_timeout_s = task_timeout_s
        self._host_id = host_id
        self._http_port = http_port
        self._delete_results = delete_results
        self._order_parts = order_parts
        self._want_driver = want_driver
        self._transitions = transitions

    def perform(self, effects: list[fx.Effect]) -> None:
        """What they have for one worker goes in one piece; the log, for which nobody waits, is
        written last.
        """
        outbox: dict[str, list[msg.Message]] = {}

        def send(worker_id: str, *messages: msg.Message) -> None:
            outbox.setdefault(worker_id, []).extend(messages)

        for effect in effects:
            match effect:
                case fx.AcceptWorker():
                    answer = msg.Registered(
                        effect.worker_id,
                        self._heartbeat_interval_s,
                        self._task_timeout_s,
                        self._host_id,
                        self._http_port,
                        effect.forget,
                        effect.driven,
                    )
                    send(effect.worker_id, answer)
                case fx.CloseSession():
                    self._sessions.disconnect(effect.worker_id, effect.session)
                case fx.LaunchAttempts():
                    launch = msg.Launch(
                        effect.orders, effect.programs, effect.outputs, effect.tables
                    )
                    send(effect.worker_id, launch)
                case fx.DriveTasks(worker_id):
                    send(worker_id, *_driven(effect))
                case fx.WantDriver():
                    self._want_driver()
                case fx.TellOutputs():
                    send(effect.worker_id, msg.OutputsMade(effect.attempt_ids, effect.outputs))
                case fx.CancelAttempts():
                    send(effect.worker_id, *map(msg.Cancel, _pages(effect.attempt_ids)))
                case fx.CommitOutput():
                    send(effect.worker_id, msg.Commit(effect.attempt_id, effect.files))
                case fx.DropOutputs():
                    send(effect.worker_id, *map(msg.Drop, _pages(effect.attempt_ids)))
                case fx.ForgetTables(worker_id, job_id):
                    send(worker_id, msg.ForgetTables(job_id))
                case fx.FindAttempts(worker_id):
                    send(worker_id, msg.FindAttempts())
                case fx.PublishParts() | fx.DiscardParts():
                    self._order_parts(effect)
                case fx.ForgetJob(job_id):
                    self._delete_results(job_id)
                case fx.AppendJournal() | fx.Warn():
                    pass  # what the log says below
                case fx.AnswerTaskRequest():
                    pass  # the loop hands it to the thread that asked
                case _:
                    assert_never(effect)
        for worker_id, messages in outbox.items():
            self._sessions.send(worker_id, *messages)
        self._transitions.note(effects)


def _driven(effect: fx.DriveTasks) -> list[msg.Message]:
    """In pages, of which the first has the programs."""
    programs = {str(index): program for index, program in effect.programs.items()}
    starts = range(0, len(effect.orders), ORDERS_PER_PAGE)
    return [
        msg.Drive(
            effect.job_id,
            effect.job_name,
            effect.orders[start : start + ORDERS_PER_PAGE],
            programs if start == 0 else {},
            is_last=start == starts[-1],
        )
        for start in starts
    ]


def _pages(ids: tuple[str, ...]) -> list[tuple[str, ...]]:
    size = msg.ATTEMPTS_PER_PAGE
    return [ids[i : i + size] for i in range(0, len(ids), size)]
