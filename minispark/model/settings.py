"""The tree of the configuration: its sections, every key of CLI.md with its default. Data only.

Must not know where values come from (`config.py` reads and checks them).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from minispark.errors import ConfigError
from minispark.model.places import DEFAULT_STATE_DIR

TOKEN_CHARS_MIN = 16
"""Of a token of one's own: whoever guesses it runs code here."""


@dataclass(frozen=True, slots=True)
class MasterSection:
    host: str = "127.0.0.1"
    http_port: int = 8080
    socket_port: int = 7077


def port_of(base: int, index: int) -> int:
    """Of the worker of that index; 0 is any."""
    return base + 10 * index if base else 0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker of a list; what it leaves out comes from `WorkersSection`'s defaults."""

    name: str
    port: int
    threads: int
    cache_max_mb: int
    fail_probability: float
    host: str | None = None
    """Where it runs, if not here: `up` does not start it, and waits for it."""


@dataclass(frozen=True, slots=True)
class WorkersSection:
    count: int = 3
    base_port: int = 9000
    threads: int = 2
    cache_max_mb: int = 128
    fail_probability: float = 0.0
    """Per cent of the tasks that fail on purpose."""
    short_circuit: bool = True
    """Ours: read shuffle files of the same host directly; false sends all over sockets."""


@dataclass(frozen=True, slots=True)
class SchedulerSection:
    heartbeat_interval_s: float = 2.0
    heartbeat_timeout_s: float = 10.0
    task_timeout_s: float = 300.0
    task_retries_max: int = 3
    max_load_diff: int = 2
    worker_losses_max: int = 10
    prefetch: int | str = "auto"
    plan: str = "fused"
    speculation: bool = True


@dataclass(frozen=True, slots=True)
class EngineSection:
    """Ours: who runs the tasks of jobs that do not say it, and which Spark the others get."""

    name: str = "local"
    master: str = "local[*]"
    """Spark's: local[N], spark://HOST:PORT, yarn or k8s://…"""
    conf: tuple[tuple[str, str], ...] = ()
    """Spark's settings, spark.executor.memory and so on."""


@dataclass(frozen=True, slots=True)
class MemorySection:
    task_max_mb: int = 256


@dataclass(frozen=True, slots=True)
class RestartSection:
    policy: str = "on-failure"
    backoff_min_s: float = 0.2
    backoff_max_s: float = 10.0
    attempts_max: int = 5
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PersistenceSection:
    save_interval_s: float = 5.0


@dataclass(frozen=True, slots=True)
class RetentionSection:
    jobs_max: int = 100
    results_max_gb: float = 10.0


@dataclass(frozen=True, slots=True)
class MetricsSection:
    latency_window: int = 100
    log_interval_s: float = 30.0


@dataclass(frozen=True, slots=True)
class LoggingSection:
    level: str = "info"
    format: str = "text"
    max_mb: int = 10
    backups: int = 3


@dataclass(frozen=True, slots=True)
class TlsSection:
    """Files in PEM: all three, or none, and then nothing is enciphered."""

    cert: str = ""
    """Of this host; good for every address by which others reach it."""
    key: str = ""
    ca: str = ""
    """The one authority that is believed."""

    @property
    def is_on(self) -> bool:
        return bool(self.cert and self.key and self.ca)

    def check(self) -> None:
        """Raises ConfigError that names what is missing."""
        said = {f"security.tls.{f.name}": bool(getattr(self, f.name)) for f in fields(self)}
        missing = [key for key, is_said in said.items() if not is_said]
        if missing and len(missing) < len(said):
            given = " and ".join(key for key, is_said in said.items() if is_said)
            raise ConfigError(
                f"{' and '.join(missing)} must be said beside {given}: TLS needs all three, each "
                "also as a variable, MINISPARK_TLS_CERT, _KEY and _CA"
            )


@dataclass(frozen=True, slots=True)
class SecuritySection:
    """Raises ConfigError for a token that is easily guessed, or empty."""

    token: str = "auto"
    http_auth: str = "auto"
    tls: TlsSection = TlsSection()

    @property
    def scheme(self) -> str:
        """Of the addresses of its HTTP servers."""
        return "https" if self.tls.is_on else "http"

    def __post_init__(self) -> None:
        if self.token != "auto" and len(self.token) < TOKEN_CHARS_MIN:
            raise ConfigError(
                f"security.token (or MINISPARK_TOKEN) has {len(self.token)} characters: "
                f"a token of your own has at least {TOKEN_CHARS_MIN}; auto makes one"
            )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole tree. `workers` is what the list or the section says, one spec each."""

    state_dir: str = DEFAULT_STATE_DIR
    input_roots: tuple[str, ...] = (".",)
    master: MasterSection = MasterSection()
    workers: WorkersSection = WorkersSection()
    worker_list: tuple[WorkerSpec, ...] | None = None
    scheduler: SchedulerSection = SchedulerSection()
    engine: EngineSection = EngineSection()
    memory: MemorySection = MemorySection()
    restart: RestartSection = RestartSection()
    persistence: PersistenceSection = PersistenceSection()
    retention: RetentionSection = RetentionSection()
    metrics: MetricsSection = MetricsSection()
    logging: LoggingSection = LoggingSection()
    security: SecuritySection = SecuritySection()

    def worker_specs(self) -> tuple[WorkerSpec, ...]:
        """One for each worker, with port 9000 + 10 i unless told otherwise; port 0 is any."""
        if self.worker_list is not None:
            return self.worker_list
        section = self.workers
        return tuple(
            WorkerSpec(
                name=f"worker-{i + 1}",
                port=port_of(section.base_port, i),
                threads=section.threads,
                cache_max_mb=section.cache_max_mb,
                fail_probability=section.fail_probability,
            )
            for i in range(section.count)
        )

    def own_workers(self) -> tuple[WorkerSpec, ...]:
        """Those that `up` starts."""
        return tuple(spec for spec in self.worker_specs() if spec.host is None)

    def awaited_workers(self) -> tuple[WorkerSpec, ...]:
        """Those that somebody starts on another host."""
        return tuple(spec for spec in self.worker_specs() if spec.host is not None)
