"""Workers that run on other hosts: the command that starts one there, and the wait until they are
Up.

Must not know how processes of this host are started.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from minispark.client import Client
from minispark.cluster import address_toward
from minispark.errors import DeadlineExceeded
from minispark.model.settings import Config, WorkerSpec

POLL_S = 0.2
TLS_FILES = {"cert": "cert.pem", "key": "key.pem", "ca": "ca.pem"}
"""As they are named in the directory from which a worker is started there."""
TOLD_SECTIONS = ("workers", "scheduler", "memory", "metrics", "logging")
"""Of these a worker must know what the cluster says."""


def instructions(config: Config, document: dict[str, Any], folder: Path) -> Iterator[str]:
    """What to do on which host. `document`: the `cluster.json` in `folder`."""
    files = str(folder / "token")
    for name, path in (document.get("tls") or {}).items():
        files += f", {path} as {TLS_FILES[name]}"
    for spec in config.awaited_workers():
        yield f"{spec.name} is to run on {spec.host}: copy {files} there (mode 600), then run"
        yield f"  {shlex.join(command(config, spec, document))}"


def command(config: Config, spec: WorkerSpec, document: dict[str, Any]) -> list[str]:
    """What starts that worker where it is to run, with its own copy of the token in `token`."""
    port = next(p["ports"]["socket"] for p in document["processes"] if p["name"] == "master")
    master = f"{address_toward(config, spec)}:{port}"
    words = ["minispark", "worker", "--master", master, "--token-file", "token"]
    words += ["--name", spec.name, "--advertise", str(spec.host)]
    section = replace(
        config.workers,
        base_port=spec.port,
        threads=spec.threads,
        cache_max_mb=spec.cache_max_mb,
        fail_probability=spec.fail_probability,
    )
    usual = _told(Config())
    for key, value in _told(replace(config, workers=section)).items():
        if value != usual[key]:
            words += ["--set", f"{key}={value}"]
    if config.security.tls.is_on:
        for name, file in TLS_FILES.items():
            words += ["--set", f"security.tls.{name}={file}"]
    return words


def _told(config: Config) -> dict[str, Any]:
    return {
        f"{name}.{field.name}": getattr(getattr(config, name), field.name)
        for name in TOLD_SECTIONS
        for field in fields(getattr(config, name))
    }


def await_up(client: Client, config: Config, timeout_s: float) -> None:
    """Until all that run on other hosts are Up. Raises DeadlineExceeded that names who is not."""
    deadline = time.monotonic() + timeout_s
    while True:
        up = {worker["name"] for worker in client.workers() if worker["status"] == "Up"}
        missing = [spec.name for spec in config.awaited_workers() if spec.name not in up]
        if not missing:
            return
        if time.monotonic() >= deadline:
            names = ", ".join(missing)
            raise DeadlineExceeded(
                f"{names} did not come up within {timeout_s:g} s; the cluster works without, and "
                "takes them in when they come"
            )
        time.sleep(POLL_S)
