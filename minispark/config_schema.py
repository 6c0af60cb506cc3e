"""Every configuration key with its type, default and environment variable; nothing else.

Must not read files or the environment: `config.py` does, and it alone knows which of them wins.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
METRICS_PORT_OFFSET = 1000
"""A worker's metrics port lies this far above its data port."""
WORKER_PORT_STEP = 10
"""Worker i listens on base_port + 10 i."""
WORKERS_MAX = 1000
THREADS_MAX = 256


class Kind(Protocol):
    """The type of one key. Both methods raise ValueError with a text that begins "must be"."""

    def check(self, value: object) -> Any: ...

    def from_text(self, text: str) -> Any: ...


@dataclass(frozen=True)
class Number:
    """An integer or a float between two limits, both allowed."""

    least: float
    most: float
    is_integer: bool = True
    has_auto: bool = False
    """`auto` is allowed too, and means None."""

    def check(self, value: object) -> float | int | None:
        if self.has_auto and (value is None or value == "auto"):
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"must be {self._wanted()}, not {value!r}")
        if self.is_integer and value != int(value):
            raise ValueError(f"must be {self._wanted()}, not {value!r}")
        if not self.least <= value <= self.most:
            raise ValueError(f"must be {self._wanted()}, not {value!r}")
        return int(value) if self.is_integer else float(value)

    def from_text(self, text: str) -> float | int | None:
        try:
            return self.check(int(text) if self.is_integer else float(text))
        except ValueError:
            return self.check(text)

    def _wanted(self) -> str:
        noun = "a whole number" if self.is_integer else "a number"
        auto = ", or auto" if self.has_auto else ""
        return f"{noun} from {self.least:g} to {self.most:.12g}{auto}"


@dataclass(frozen=True)
class Choice:
    """One of a few names, in any case."""

    names: tuple[str, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check(self, value: object) -> str:
        # YAML reads a bare `on` or `off` as a boolean, but no choice of ours is one
        name = value.strip().lower() if isinstance(value, str) else ""
        name = self.aliases.get(name, name)
        if name not in self.names:
            raise ValueError(f"must be one of {', '.join(self.names)}, not {value!r}")
        return name

    def from_text(self, text: str) -> str:
        return self.check(text)


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {value!r}")
        return value

    def from_text(self, text: str) -> bool:
        words = {"true": True, "yes": True, "on": True, "1": True}
        words |= {"false": False, "no": False, "off": False, "0": False}
        return self.check(words.get(text.strip().lower(), text))


@dataclass(frozen=True)
class Text:
    """A text that is not empty and has no control characters."""

    what: str
    pattern: re.Pattern[str] = re.compile(r"[^\x00-\x1f\x7f]+")

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            raise ValueError(f"must be {self.what}, not {value!r}")
        return value

    def from_text(self, text: str) -> str:
        return self.check(text)


@dataclass(frozen=True)
class Paths:
    """A list of paths; in one text they are separated as in PATH."""

    separator: str = ":"

    def check(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(item, str) and item and "\x00" not in item for item in value
        ):
            raise ValueError(f"must be a list of paths, not {value!r}")
        return tuple(value)

    def from_text(self, text: str) -> tuple[str, ...]:
        return self.check([part for part in text.split(self.separator) if part])


def key(default: object, kind: Kind, env: str | None = None) -> Any:
    """A dataclass field that is a configuration key; `env` names its environment variable."""
    return dataclasses.field(default=default, metadata={"kind": kind, "env": env})


PORT = Number(0, 65535)
WORKER_PORT = Number(0, 65535 - METRICS_PORT_OFFSET)
SECONDS = Number(0.01, 86_400 * 365, is_integer=False)
MEGABYTES = Number(1, 1_048_576)
LEVELS = Choice(("debug", "info", "warning", "error"), {"warn": "warning", "trace": "debug"})


@dataclass(frozen=True, slots=True)
class MasterEndpoint:
    host: str = key(
        "127.0.0.1", Text("a host name or address", re.compile(r"[^\s/]+")), "MASTER_HOST"
    )
    """Workers of this cluster listen on it too."""
    http_port: int = key(8080, PORT, "MASTER_HTTP_PORT")
    socket_port: int = key(7077, PORT, "MASTER_SOCKET_PORT")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. As `workers: [...]` every one is written out; as `workers: {...}` all are alike."""

    name: str = key("worker-1", Text("letters, digits, dots, dashes, at most 64", WORKER_NAME))
    port: int = key(9000, WORKER_PORT, "WORKER_PORT")
    threads: int = key(2, Number(1, THREADS_MAX), "WORKER_THREADS")
    """Slots: executor processes."""
    cache_max_mb: int = key(128, Number(0, 1_048_576), "CACHE_MAX_MB")
    fail_probability: float = key(0.0, Number(0, 100, is_integer=False), "FAIL_PROBABILITY")
    """Per cent of the tasks that fail on purpose."""
    short_circuit: bool = key(True, Flag())
    """Read blocks of workers on the same host as files, not over a socket."""


WORKERS_COUNT = Number(0, WORKERS_MAX)


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    heartbeat_interval_s: float = key(2.0, SECONDS, "HEARTBEAT_INTERVAL_SECS")
    heartbeat_timeout_s: float = key(10.0, SECONDS)
    task_timeout_s: float = key(300.0, SECONDS, "MAX_TASK_TIME_SECS")
    task_retries_max: int = key(3, Number(0, 100), "MAX_TASK_ATTEMPTS")
    """A task runs at most 1 + this many times."""
    max_load_diff: int = key(2, Number(0, 10_000))
    worker_losses_max: int = key(10, Number(0, 1000))
    prefetch: int | None = key(None, Number(0, 10_000, has_auto=True))
    """Attempts a worker may queue beyond its slots; None (`auto`): twice its slots."""
    plan: str = key("fused", Choice(("fused", "naive")))
    speculation: bool = key(True, Flag())


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    task_max_mb: int = key(256, MEGABYTES)


@dataclass(frozen=True, slots=True)
class RestartConfig:
    policy: str = key("on-failure", Choice(("on-failure", "always", "never")))
    backoff_min_s: float = key(0.2, SECONDS)
    backoff_max_s: float = key(10.0, SECONDS)
    attempts_max: int = key(5, Number(0, 1000))
    """So many restarts within `window_s`; the next death is final."""
    window_s: float = key(60.0, SECONDS)


@dataclass(frozen=True, slots=True)
class PersistenceConfig:
    save_interval_s: float = key(5.0, SECONDS, "SAVE_INTERVAL_SECS")
    """The least time between two writes of jobs.json."""


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    jobs_max: int = key(100, Number(1, 1_000_000))
    results_max_gb: float = key(10.0, Number(0.001, 1_048_576, is_integer=False))


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    latency_window: int = key(100, Number(1, 1_000_000), "LATENCY_WINDOW_SIZE")
    log_interval_s: float = key(30.0, SECONDS)
    """A worker logs its metrics this often."""


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    level: str = key("info", LEVELS, "LOG_LEVEL")
    format: str = key("text", Choice(("text", "json")), "LOG_FORMAT")
    max_mb: float = key(10.0, Number(0.001, 1_048_576, is_integer=False))
    backups: int = key(3, Number(0, 100))


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    token: str = key(
        "auto", Text("a token without spaces", re.compile(r"[!-~]+")), "MINISPARK_TOKEN"
    )
    """`auto`: made at the first start, and kept in the state directory."""
    http_auth: str = key("auto", Choice(("auto", "required", "never")))


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; `workers` is always the list form."""

    state_dir: str = key("/tmp/minispark", Text("a path"), "MINISPARK_STATE_DIR")
    input_roots: tuple[str, ...] = key((".",), Paths(), "MINISPARK_INPUT_ROOTS")
    """As configured; relative ones are meant from the directory of `up`."""
    master: MasterEndpoint = MasterEndpoint()
    workers: tuple[WorkerSpec, ...] = ()
    scheduler: SchedulerConfig = SchedulerConfig()
    memory: MemoryConfig = MemoryConfig()
    restart: RestartConfig = RestartConfig()
    persistence: PersistenceConfig = PersistenceConfig()
    retention: RetentionConfig = RetentionConfig()
    metrics: MetricsConfig = MetricsConfig()
    logging: LoggingConfig = LoggingConfig()
    security: SecurityConfig = SecurityConfig()
