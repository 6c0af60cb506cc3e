"""Three hosts with a cluster over them: a master and a worker on the first, a worker on each other
one."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import wait_until
from tests.hosts.network import Addresses, Host, Network, why_not

CONFIG = """
master: {{host: {master}, http_port: 0, socket_port: 0}}
security: {{token: a-token-for-three-hosts-0123456789{tls}}}
scheduler: {{heartbeat_interval_s: 0.3, heartbeat_timeout_s: 1.5}}
restart: {{policy: never}}
workers:
  - {{name: near, port: 0, threads: 2}}
  - {{name: far-2, host: {second}, port: 0, threads: 2}}
  - {{name: far-3, host: {third}, port: 0, threads: 2}}
"""


class ThreeHosts:
    """The cluster. Everything is asked for on the first host, as its owner would."""

    def __init__(self, hosts: Network | Addresses) -> None:
        self._hosts = hosts
        self.master, self.second, self.third = hosts.hosts
        self.inputs = self.master.folder  # the others do not see it
        self._commands: dict[str, list[str]] = {}
        self._workers: dict[str, subprocess.Popen[Any]] = {}
        """Of the hosts that are not the master's, by the host's name."""
        self._is_up = False

    @property
    def network(self) -> Network:
        """Whose links can be changed."""
        assert isinstance(self._hosts, Network)
        return self._hosts

    def up(self, is_secure: bool = False) -> None:
        """Start it as `up` says how. `is_secure`: with TLS, by certificates of its own."""
        addresses = {"master": self.master.address, "second": self.second.address}
        tls = f", tls: {self._make_certificates()}" if is_secure else ""
        config = CONFIG.format(third=self.third.address, tls=tls, **addresses)
        (self.master.folder / "three.yaml").write_text(config)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words = ("up", "-d", "-c", "three.yaml", "--timeout", "60")
        with self.master.minispark(*words, **pipes) as process:
            assert process.stderr is not None
            for host in (self.second, self.third):
                self._start_worker(host, self._told(process, host))
            _, errors = process.communicate(timeout=90)
            assert process.returncode == 0, errors
        self._is_up = True

    def _make_certificates(self) -> str:
        """As somebody makes and copies them who has three hosts; what the configuration says."""
        names = [f"--host={host.address}" for host in self._hosts.hosts]
        made = json.loads(self.cli("certs", "keys", *names, "--json"))["tls"]
        files = {name: Path(self.master.folder, path) for name, path in made.items()}
        for host in (self.second, self.third):
            for name, path in files.items():
                shutil.copy(path, host.folder / f"{name}.pem")
        return json.dumps({name: str(path) for name, path in files.items()})

    def _told(self, process: subprocess.Popen[str], host: Host) -> str:
        """The command that is to be run there."""
        assert process.stderr is not None
        said: list[str] = []
        while line := process.stderr.readline():
            said.append(line)
            if line.startswith("  minispark worker") and host.address in line:
                return line
        raise AssertionError(f"up says nothing about {host.address}: {said}")

    def _start_worker(self, host: Host, command: str) -> None:
        minispark, *words = shlex.split(command)
        assert minispark == "minispark"
        token = self.master.folder / "state" / "token"
        (host.folder / "token").write_text(token.read_text())
        self._commands[host.name] = words
        self._run_worker(host)

    def _run_worker(self, host: Host) -> None:
        with (host.folder / "log").open("a") as log:
            words = self._commands[host.name]
            self._workers[host.name] = host.minispark(*words, stderr=log, stdout=log)

    def restart_worker(self, host: Host) -> None:
        """Kill the worker of a host, and start it again as it was started."""
        self._workers[host.name].kill()
        self._workers[host.name].wait()
        self._run_worker(host)

    def cli(self, *words: str, timeout_s: float = 120.0) -> str:
        """What a command prints on the first host. Fails when it does."""
        done = self.master.run(*words, timeout_s=timeout_s)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def states(self) -> dict[str, str]:
        """Each worker's state, by name."""
        rows = self.json("status")["workers"]
        return {row["name"]: row["status"] for row in rows}

    def json(self, *words: str) -> Any:
        return json.loads(self.cli(*words, "--json"))

    def submit(self, request: dict[str, Any]) -> str:
        """The id of the job."""
        path = self.master.folder / "job.json"
        path.write_text(json.dumps(request))
        return str(self.json("submit", str(path))["id"])

    def results(self, job_id: str) -> list[tuple[str, str]]:
        """All records of a job that must succeed, sorted."""
        wait_until(
            lambda: self.json("status", job_id)["state"] not in ("PENDING", "RUNNING"),
            f"job {job_id} ends",
            120.0,
        )
        job = self.json("status", job_id)
        assert job["state"] == "SUCCEEDED", job["status"]
        rows = self.json("results", job_id)
        return sorted((row["key"], row["value"]) for row in rows)

    def logs(self) -> str:
        found = []
        for host in self._hosts.hosts:
            for path in [*host.folder.glob("log"), *(host.folder / "state").glob("logs/*.log")]:
                found.append(f"--- {host.name} {path.name}\n{path.read_text()[-8000:]}")
        return "\n".join(found)

    def close(self) -> None:
        if isinstance(self._hosts, Network):
            self._hosts.every_link()
        if self._is_up:
            self.master.run("down")
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            worker.wait(30)
        wait_until(lambda: not self._hosts.processes(), "no process is left on any host", 10.0)


@pytest.fixture
def three_hosts() -> Iterator[ThreeHosts]:
    """Hosts with links between them."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"{reason}: see three_addresses")
    seed = int(os.environ.get("MINISPARK_SEED", random.SystemRandom().randrange(2**32)))
    print("MINISPARK_SEED", seed)
    with tempfile.TemporaryDirectory(prefix="minispark-hosts-") as folder:
        yield from closing_all(Network(Path(folder), 3, seed))


@pytest.fixture
def three_addresses() -> Iterator[ThreeHosts]:
    """The same on addresses of this host: where no network can be made."""
    with tempfile.TemporaryDirectory(prefix="minispark-hosts-") as folder:
        yield from closing_all(Addresses(Path(folder), 3))


def closing_all(network: Network | Addresses) -> Iterator[ThreeHosts]:
    """A cluster over them, of which nothing is left in the end; a failed test shows its logs."""
    hosts = ThreeHosts(network)
    try:
        yield hosts
    finally:
        try:
            hosts.close()
        finally:
            print(hosts.logs())
            for pid in network.processes():
                os.kill(pid, signal.SIGKILL)
            network.close()
