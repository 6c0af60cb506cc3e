"""What a host and one process use, as Prometheus families. Must not know who measures it."""

from __future__ import annotations

from dataclasses import dataclass

from minispark.metrics.prometheus import Family, Labels, counter, gauge


@dataclass(frozen=True, slots=True)
class HostFigures:
    """Of the host, and of the process that asks. A `percent` is of the host's processors together,
    the process's own of one.
    """

    cpu_percent: float
    memory_used_bytes: int
    memory_size_bytes: int
    memory_percent: float
    process_cpu_percent: float
    process_cpu_s: float
    process_rss_bytes: int


def host_families(prefix: str, labels: Labels, figures: HostFigures) -> list[Family]:
    used, size = figures.memory_used_bytes, figures.memory_size_bytes
    cpu = figures.cpu_percent / 100.0
    return [
        gauge(f"{prefix}cpu_ratio", "Of the host's processors, busy.", cpu, labels),
        gauge(f"{prefix}memory_used_bytes", "Of the host's memory, used.", used, labels),
        gauge(f"{prefix}memory_size_bytes", "The host's memory.", size, labels),
    ]


def process_families(prefix: str, labels: Labels, figures: HostFigures) -> list[Family]:
    cpu_s, rss_bytes = figures.process_cpu_s, figures.process_rss_bytes
    return [
        counter(f"{prefix}cpu_seconds", "Processor time of this process.", cpu_s, labels),
        gauge(f"{prefix}resident_memory_bytes", "Memory of this process.", rss_bytes, labels),
    ]
