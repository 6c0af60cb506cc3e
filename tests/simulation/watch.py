"""Remembers what was journaled and launched, and knows what must never happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import (
    FetchShuffle,
    Join,
    OutputLocation,
    PartitionFile,
    ReadDocumentedShuffle,
    ReadPartitions,
    Source,
    Stage,
    TaskOrder,
    UnionAll,
)
from minispark.model.states import AttemptState, JobState, WorkerKind

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


class Watch:
    """Remembers what was journaled and launched, and knows what must never happen."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._accepted: dict[tuple[str, int, int], str] = {}
        self._stages: dict[str, tuple[object, ...]] = {}
        self.attempts: dict[tuple[str, int, int], int] = {}
        self.job_states: dict[str, JobState] = {}
        self.published: dict[str, tuple[fx.PartFolder, ...]] = {}
        """Jobs whose parts were given their names."""
        self.reported: dict[str, None] = {}
        """Attempts whose worker said that they succeeded."""
        self.unreadable: dict[str, None] = {}
        """Outputs that a live attempt could not read, and said so, though nobody had come to their
        disk, or gone, since it was launched.
        """
        self.accepted_attempts: dict[str, str] = {}
        """Of jobs that have not ended: accepted attempts, and their jobs."""
        self._changes: dict[str, int] = {}
        """How often somebody came to, or went from, the disk of a host."""
        self._up: dict[str, dict[str, None]] = {}
        self._left_at: dict[str, float] = {}
        """Since when no worker of ours is Up on the disk of a host, as far as a master knows."""
        self._looked_at = 0.0
        self._launched_at: dict[str, dict[str, int]] = {}
        """`_changes` when the attempt was launched."""
        self._tables: dict[str, dict[str, tuple[OutputLocation, ...]]] = {}
        """What each worker was sent in its session."""
        self._host_of: dict[str, str] = {}
        """On whose disk an accepted attempt's output is."""
        self._outputs: dict[tuple[str, int], dict[int, str]] = {}
        """By job and stage: the accepted attempt of each partition."""
        self.empty: dict[str, None] = {}
        """Attempts whose output has no records: nobody is sent there."""

    def see_master(self) -> None:
        """Another master begins: it has seen nobody come yet."""
        self._up, self._looked_at = {}, 0.0
        for host in self._changes:
            self._change(host)

    def see_tick(self) -> None:
        """A master looked at the clock, and maybe had slots to give work to."""
        simulation, pool = self._simulation, self._simulation.core.state.pool
        if pool.slots_total:
            self._looked_at = simulation.now
        limit_s = simulation.limits.task_timeout_s
        for worker in pool.workers.values():
            for attempt in worker.attempts.values() if not worker.is_pushed else ():
                took_s = simulation.now - attempt.assigned_at
                said = f"{attempt.id} runs on a foreign worker for {took_s:.1f} s"
                assert took_s <= limit_s, said

    def see_gap(self) -> None:
        """The master was stopped: all deadlines begin anew."""
        now = self._simulation.now
        self._left_at = dict.fromkeys(self._left_at, now)

    def _change(self, host: str) -> None:
        self._changes[host] = self._changes.get(host, 0) + 1
        if self._up.get(host):
            self._left_at.pop(host, None)
        else:
            self._left_at[host] = self._simulation.now

    def newly_unreadable(self, event: ev.Event) -> dict[str, None]:
        """Outputs that nobody may be sent to any more once the event was taken in."""
        live = self._simulation.core.state.pool.live
        if not isinstance(event, ev.OutputsUnreadable) or event.attempt_id not in live:
            return {}
        before = self._launched_at.get(event.attempt_id, {})
        owners = {i: self._host_of.get(i, "") for i in event.lost}
        return dict.fromkeys(
            i for i, host in owners.items() if before.get(host) == self._changes.get(host)
        )

    def keeps_running(self, event: ev.Event) -> list[str]:
        """What a worker that drains runs, and said so."""
        if not isinstance(event, ev.WorkerDraining):
            return []
        worker = self._simulation.workers[event.worker_id]
        return [attempt_id for attempt_id in worker.running if attempt_id in worker.said]

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        """It is durable now."""
        match fact:
            case fx.PlanChosen(job_id, plan):
                self._stages[job_id] = plan.stages
            case fx.JobMoved(job_id, state):
                old = self.job_states.get(job_id)
                assert old is None or not old.is_terminal, f"job {job_id} moved after {old}"
                self.job_states[job_id] = state
                is_saved = state is not JobState.SUCCEEDED or job_id in self.published
                assert is_saved or not self._saved(job_id), f"job {job_id} left no parts"
                said = f"job {job_id} is {state.value}, and its parts are there"
                assert state is not JobState.CANCELLED or job_id not in self.published, said
                if state.is_terminal:
                    kept = self.accepted_attempts.items()
                    self.accepted_attempts = {i: job for i, job in kept if job != job_id}
            case fx.WorkerSeen(worker) if worker.kind is WorkerKind.SOCKET:
                self._up.setdefault(worker.host_id, {})[worker.worker_id] = None
                self._tables.pop(worker.worker_id, None)  # a session that was sent nothing yet
                self._change(worker.host_id)
            case fx.WorkerLost(worker_id):
                host = self._simulation.workers[worker_id].host
                self._up.get(host, {}).pop(worker_id, None)
                self._change(host)
            case fx.AttemptMoved():
                self._see_attempt(fact)
            case _:
                pass

    def _saved(self, job_id: str) -> list[int]:
        """The stages that write to directories of the user's."""
        found: list[int] = []
        for stage in self._stages[job_id]:
            assert isinstance(stage, Stage)
            sink = stage.program.sink
            if isinstance(sink, PartitionFile) and sink.saved is not None:
                found.append(stage.index)
        return found

    def see_publication(self, order: fx.PublishParts) -> None:
        """Parts get their names: of accepted attempts, one of each partition."""
        stages = self._saved(order.job_id)
        for index, folder in zip(stages, order.folders, strict=True):
            accepted = self._outputs[order.job_id, index]
            parts = dict(enumerate(folder.attempt_ids))
            assert parts == accepted, f"of {order.job_id}/{index} {parts}, accepted {accepted}"
        before = self.published.setdefault(order.job_id, order.folders)
        assert before == order.folders, f"job {order.job_id} has other parts than before"

    def _see_attempt(self, fact: fx.AttemptMoved) -> None:
        task = (fact.job_id, fact.stage_index, fact.partition)
        match fact.state:
            case AttemptState.ASSIGNED:
                assert task not in self._accepted, f"{task} was launched though it has an output"
                self.attempts[task] = self.attempts.get(task, 0) + 1
            case AttemptState.SUCCEEDED if fact.is_committed:
                assert self._accepted.get(task) == fact.attempt_id, f"{task} committed another"
            case AttemptState.SUCCEEDED:
                said = f"{task} has an output that attempt {fact.attempt} never reported"
                assert fact.attempt_id in self.reported, said
                assert task not in self._accepted, f"two outputs were accepted for {task}"
                self._accepted[task] = fact.attempt_id
                self._outputs.setdefault(task[:2], {})[fact.partition] = fact.attempt_id
                self.accepted_attempts[fact.attempt_id] = fact.job_id
                self._host_of[fact.attempt_id] = self._simulation.workers[fact.worker_id].host
            case AttemptState.LOST if self._accepted.get(task) == fact.attempt_id:
                del self._accepted[task]
                del self._outputs[task[:2]][fact.partition]
                del self.accepted_attempts[fact.attempt_id]
            case _:
                pass

    def see_launch(self, launch: fx.LaunchAttempts) -> None:
        worker = self._simulation.core.state.pool.workers[launch.worker_id]
        assert worker.state.value == "UP", "a task was launched on a worker that is Down"
        tables = self._tables.setdefault(launch.worker_id, {})
        tables.update(launch.tables)
        named = [order.outputs_id for order in launch.orders if order.outputs_id is not None]
        known = {**tables, **launch.outputs}
        for name in dict.fromkeys(named):
            places = known[name]
            stale = [p.attempt_id for p in places if p.attempt_id in self.unreadable]
            assert not stale, f"readers are sent to {stale}, which somebody could not read"
            self._see_places(places)
        for order in launch.orders:
            self._launched_at[order.attempt_id] = dict(self._changes)
            if order.outputs_id is not None:
                self._check_outputs(order, known[order.outputs_id])
            for parent in self.stage_of(order).parents:
                width = self._stages[order.job_id][parent].partitions
                missing = [
                    p for p in range(width) if (order.job_id, parent, p) not in self._accepted
                ]
                assert not missing, f"{order} was launched before {parent}/{missing} had outputs"

    def _check_outputs(self, order: TaskOrder, places: tuple[OutputLocation, ...]) -> None:
        """A reader is sent to exactly the accepted outputs of what it reads, but for empty ones."""
        wanted: list[tuple[int, int, str]] = []
        for index, is_every in _reads(self.stage_of(order).program.source):
            accepted = self._outputs.get((order.job_id, index), {})
            partitions = sorted(accepted) if is_every else [order.partition]
            found = [(index, partition, accepted[partition]) for partition in partitions]
            wanted += [output for output in found if output[2] not in self.empty]
        sent = [(p.stage_index, p.partition, p.attempt_id) for p in places]
        assert sent == wanted, f"{order} is sent to {sent}; accepted is {wanted}"

    def see_drained(self, worker_id: str) -> None:
        """It was told to end once nothing runs."""
        worker = self._simulation.core.state.pool.workers.get(worker_id)
        if worker is not None and worker.is_draining:
            queued = [a.id for a in worker.attempts.values() if a.started_at is None]
            assert not queued, f"a draining worker keeps {queued}, which it only queued"

    def _see_places(self, places: tuple[OutputLocation, ...]) -> None:
        simulation = self._simulation
        given_up = self._looked_at - simulation.limits.heartbeat_timeout_s
        for place in places:
            is_ours = simulation.workers[place.worker_id].kind is WorkerKind.SOCKET
            left_at = self._left_at.get(place.host_id, simulation.now)
            assert not is_ours or left_at >= given_up, f"{place} is gone since {left_at}"

    def stage_of(self, order: TaskOrder):  # type: ignore[no-untyped-def]
        return self._stages[order.job_id][order.stage_index]

    @staticmethod
    def documented_files(attempt) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
        from minispark.scheduling.attempts import expected_files

        return expected_files(attempt)

    def check_end(self) -> None:
        """Every acknowledged job ended; the journal says the same of it as the last snapshot."""
        snapshot = self._simulation.core.snapshot()
        for job_id in self._simulation.job_ids:
            state = self.job_states.get(job_id)
            assert state is not None, f"job {job_id} was acknowledged, and is unknown"
            assert state.is_terminal
            view = snapshot.jobs.get(job_id)  # None: it ended under an earlier master
            assert view is None or state is view.state
            if state is JobState.SUCCEEDED:
                for stage in self._stages[job_id]:
                    if stage.is_final:
                        for partition in range(stage.partitions):
                            assert (job_id, stage.index, partition) in self._accepted
                assert view is None or view.progress == 100.0
        for worker in snapshot.workers.values():
            assert worker.load == 0

    def check_disks(self) -> None:
        """Every fault is over, and so is every job: nothing of them is left on a disk that somebody
        can reach.
        """
        workers = self._simulation.workers.values()
        hosts = {w.host for w in workers if w.is_alive and w.kind is WorkerKind.SOCKET}
        left = {w.name: list(w.directories) for w in workers if w.host in hosts and w.directories}
        assert not left, f"directories of attempts are left: {left}"
        tables = {w.name: list(w.tables) for w in workers if w.is_alive and w.tables}
        assert not tables, f"locations of outputs are left: {tables}"


def _reads(source: Source) -> list[tuple[int, bool]]:
    """(stage, whether all its outputs or only that of the same partition) that a source reads."""
    match source:
        case FetchShuffle() | ReadDocumentedShuffle():
            return [(source.stage_index, True)]
        case ReadPartitions():
            return [(source.stage_index, source.every)]
        case Join():
            return _reads(source.left) + _reads(source.right)
        case UnionAll(branches=branches):
            stages = dict.fromkeys(i for branch in branches for i, _ in _reads(branch.source))
            return [(index, True) for index in stages]
        case _:
            return []
