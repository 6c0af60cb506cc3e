"""Several hosts on one: network namespaces with a name, an address and a disk of their own, joined
by a wire; that takes root on Linux. Elsewhere hosts that differ in their addresses only.

Nothing here touches the network of the machine itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from minispark.transport.host import HOST_ID_VARIABLE
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT

DEVICE = "eth0"
_ENTER = 'hostname "$0"; for f in $HIDDEN; do mount -t tmpfs none "$f" || exit 9; done; exec "$@"'
"""Run in a host's own namespaces: names the host, and hides what lies on the others' disks."""


def why_not() -> str | None:
    """Why there can be no namespaces here; None where there can."""
    if sys.platform != "linux":
        return "network namespaces are of Linux"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    for name in ("ip", "unshare"):
        if shutil.which(name) is None:
            return f"{name} is not installed (packages iproute2, util-linux)"
    return None if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"


@dataclass
class Host:
    """One of them. `folder`: its disk, which the others do not see, where it has a namespace."""

    number: int
    folder: Path
    address: str
    namespace: str | None = None
    hidden: list[Path] = field(default_factory=list)
    skew_s: float = 0.0
    """How far its clock is ahead."""

    @property
    def name(self) -> str:
        return f"host{self.number + 1}"

    def start(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """Run a program there; its pid is the program's own. In its folder, if not told where."""
        paths = [str(ROOT / "tests" / "hosts" / "skew"), str(ROOT)]
        skew = {"SKEW_S": str(self.skew_s), "PYTHONPATH": os.pathsep.join(paths)}
        env = {**PLAIN_ENVIRONMENT, **skew}
        options.setdefault("cwd", self.folder)
        if self.namespace is None:
            return subprocess.Popen(words, env={**env, HOST_ID_VARIABLE: self.name}, **options)
        env["HIDDEN"] = " ".join(str(path) for path in self.hidden)
        enter = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "--mount"]
        return subprocess.Popen([*enter, "sh", "-c", _ENTER, self.name, *words], env=env, **options)

    def minispark(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a command line there, on the host's own state directory."""
        state = str(self.folder / "state")
        command = [sys.executable, str(ROOT / "minispark.py"), "--state-dir", state, *words]
        return self.start(*command, **options)

    def run(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command line to its end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with self.minispark(*words, **pipes) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(words, process.returncode, out, err)


class Network:
    """Hosts that see each other over links that can be changed. Close it."""

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        mark = uuid.uuid4().hex[:6]
        self.hosts = [
            Host(i, folder / f"disk{i + 1}", f"10.77.0.{i + 1}", f"ms-{mark}-{i + 1}")
            for i in range(count)
        ]
        self._wire: subprocess.Popen[str] | None = None
        try:
            self._make(seed)
        except BaseException:
            self.close()
            raise

    def _make(self, seed: int) -> None:
        for host in self.hosts:
            host.folder.mkdir()
            host.hidden = [other.folder for other in self.hosts if other is not host]
            _ip("netns", "add", str(host.namespace))
        taps = [f"{host.namespace}={DEVICE}" for host in self.hosts]
        self._wire = subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.wire", str(seed), *taps],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answered()
        for host in self.hosts:
            for device in ("lo", DEVICE):
                _ip("-n", str(host.namespace), "link", "set", device, "up")
            _ip("-n", str(host.namespace), "addr", "add", f"{host.address}/24", "dev", DEVICE)

    def link(self, one: Host, other: Host, **figures: Any) -> None:
        """Set both directions: `delay_s`, `loss` (0 to 1), `bytes_per_s`, `is_cut`; none: a good
        link again.
        """
        assert self._wire is not None and self._wire.stdin is not None
        for pair in ((one.number, other.number), (other.number, one.number)):
            self._wire.stdin.write(json.dumps({"link": pair, **figures}) + "\n")
            self._wire.stdin.flush()
            self._answered()

    def every_link(self, **figures: Any) -> None:
        for i, one in enumerate(self.hosts):
            for other in self.hosts[i + 1 :]:
                self.link(one, other, **figures)

    def _answered(self) -> None:
        assert self._wire is not None and self._wire.stdout is not None
        assert self._wire.stdout.readline() == "ok\n", "the wire broke"

    def processes(self) -> list[int]:
        """The pids of all that still runs on these hosts."""
        pids: list[int] = []
        for host in self.hosts:
            words: Sequence[str] = ("ip", "netns", "pids", str(host.namespace))
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            pids += map(int, done.stdout.split())
        return pids

    def close(self) -> None:
        if self._wire is not None:
            self._wire.communicate()
        for host in self.hosts:
            _ip("netns", "del", str(host.namespace), is_checked=False)


class Addresses:
    """Hosts that are addresses of this one, which nothing can cut or hide. Close it."""

    def __init__(self, folder: Path, count: int) -> None:
        own = sys.platform == "linux"  # elsewhere a loopback device has one address
        addresses = [f"127.0.0.{i + 2}" if own else "127.0.0.1" for i in range(count)]
        self.hosts = [Host(i, folder / f"disk{i + 1}", a) for i, a in enumerate(addresses)]
        for host in self.hosts:
            host.folder.mkdir()

    def processes(self) -> list[int]:
        """The pids of all that still runs on these hosts."""
        folders = [str(host.folder) for host in self.hosts]
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if any(f in word for word in process.info["cmdline"] or () for f in folders)
        ]

    def close(self) -> None:
        """There is nothing to give back."""


def _ip(*words: str, is_checked: bool = True) -> None:
    subprocess.run(["ip", *words], check=is_checked, capture_output=not is_checked)
