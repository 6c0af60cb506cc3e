"""L4: what people ask of a running cluster over its control socket, as calls of its supervisor.

Must not know how they ask (`supervisor/control.py`), nor what the processes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minispark.model.settings import WorkerSpec, WorkersSection
from minispark.supervisor.child import ProcessSpec
from minispark.supervisor.restart_policy import ProcessState
from minispark.supervisor.supervisor import Supervisor

WORKERS_MAX = 256
DRAIN_S = 30.0
"""How long a worker that goes may finish what it runs."""
PORT_STEP = 10


class Operations:
    """Restarts processes, and changes the number of workers."""

    def __init__(
        self,
        supervisor: Supervisor,
        workers: tuple[WorkerSpec, ...],
        section: WorkersSection,
        make_process: Callable[[WorkerSpec], ProcessSpec],
        driver: ProcessSpec,
    ) -> None:
        """`driver`: of Spark, run once somebody asks for it."""
        self._supervisor = supervisor
        self._workers = {spec.name: spec for spec in workers}
        self._section = section
        self._make_process = make_process
        self._driver = driver

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """`{"restart": [NAME, ...]}` (none: all), `{"scale": N}` or `{"driver": "start"}`; whom it
        concerns, or `{"error"}`.
        """
        if self._supervisor.is_stopping:
            return {"error": "it is stopping"}
        match question:
            case {"restart": list(names)}:
                return self._restart([str(name) for name in names])
            case {"scale": int(count)} if 0 <= count <= WORKERS_MAX:
                return self._scale(count)
            case {"driver": "start"}:
                return self._start_driver()
            case {"scale": _}:
                return {"error": f"the number of workers is 0 to {WORKERS_MAX}"}
            case _:
                return {"error": f"restart or scale, not {', '.join(question)[:100]}"}

    def _restart(self, names: list[str]) -> dict[str, Any]:
        children = self._supervisor.children
        known = [child.spec.name for child in children if not child.life.is_retired]
        for name in names:
            if self._is_known(name) and name not in known:
                return {"error": f"{name} drains; it will be gone"}
            if name not in known:
                return {"error": f"there is no process {name!r}; there are {', '.join(known)}"}
        self._supervisor.restart(names or known)
        return {"names": names or known}

    def _start_driver(self) -> dict[str, Any]:
        """Unless it runs, or will again."""
        name = self._driver.name
        child = next((c for c in self._supervisor.children if c.spec.name == name), None)
        if child is None:
            self._supervisor.add(self._driver)
        elif child.state is ProcessState.FATAL:
            why = child.error or child.reason
            return {"error": f"{name} does not start: {why}; mend that, then `restart {name}`"}
        return {"names": [name]}

    def _scale(self, count: int) -> dict[str, Any]:
        staying = list(self._workers)
        added: list[str] = []
        number = 0
        while len(staying) + len(added) < count:
            number += 1
            spec = self._spec(number)
            if spec.name not in self._workers and not self._is_known(spec.name):
                self._workers[spec.name] = spec
                self._supervisor.add(self._make_process(spec))
                added.append(spec.name)
        gone = staying[count:]
        for name in gone:
            del self._workers[name]
            self._supervisor.retire(name, DRAIN_S)
        return {"added": added, "draining": gone}

    def _is_known(self, name: str) -> bool:
        """Also one that still drains."""
        return any(child.spec.name == name for child in self._supervisor.children)

    def _spec(self, number: int) -> WorkerSpec:
        section = self._section
        port = section.base_port + PORT_STEP * (number - 1) if section.base_port else 0
        return WorkerSpec(
            name=f"worker-{number}",
            port=port,
            threads=section.threads,
            cache_max_mb=section.cache_max_mb,
            fail_probability=section.fail_probability,
        )
