"""Where outputs lie, as the master said: it says it once in a session.

Must not know how they are fetched.
"""

from __future__ import annotations

from minispark.errors import ProtocolError
from minispark.model.plan import OutputLocation, StageProgram, TaskOrder
from minispark.transport.messages import Launch, Run


class OutputTables:
    """What later orders of the session may name."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[OutputLocation, ...]] = {}
        self._program: StageProgram | None = None
        """Of the last order: the orders of one stage share one object, whenever they come."""

    def begin_session(self) -> None:
        """The master sends what it sent in an earlier one again."""
        self._tables.clear()

    def forget(self, job_id: str) -> None:
        for name in [name for name in self._tables if name.startswith(f"{job_id}/")]:
            del self._tables[name]

    def runs(self, launch: Launch) -> list[Run]:
        """The orders with all that they need. Raises ProtocolError: one names what was never
        sent.
        """
        self._tables.update(launch.tables)
        programs = {name: self._shared(program) for name, program in launch.programs.items()}
        return [
            Run(
                order,
                programs[f"{order.job_id}/{order.stage_index}"],
                self._outputs(order, launch),
            )
            for order in launch.orders
        ]

    def _shared(self, program: StageProgram) -> StageProgram:
        if program != self._program:
            self._program = program
        assert self._program is not None
        return self._program

    def _outputs(self, order: TaskOrder, launch: Launch) -> tuple[OutputLocation, ...]:
        name = order.outputs_id
        if name is None:
            return ()
        found = launch.outputs.get(name, self._tables.get(name))
        if found is None:
            raise ProtocolError(f"an order reads {name}, and nobody said where that is")
        return found
