"""The names of a job's files. The documented ones of partitions and shuffles, and its log, lie
directly below the state directory; part files in a directory of the user's.

Must not know the state directory, nor what is in the files. Source: API.md, "Files".
"""

from __future__ import annotations

from minispark.model.ids import is_uuid

_ID_CHARS = 36


def partition_file(job_id: str, node_id: str, partition: int) -> str:
    """One partition of a node's output: ``{job}_{node}_p{n}.json``."""
    return f"{job_id}_{node_id}_p{partition}.json"


def shuffle_file(job_id: str, writer_node_id: str, source: int, target: int) -> str:
    """What task `source` of a shuffle writer has for partition `target` of its reader."""
    return f"{job_id}_{writer_node_id}_shuffle_p{source}_to_p{target}.json"


def part_file(partition: int, format: str) -> str:
    """One partition of what a job writes to a directory of the user's."""
    return f"part-{partition:05}.{format}"


def log_file(job_id: str) -> str:
    """What a job's own functions printed. No node's file can have this name."""
    return f"{job_id}_prints.log"


def job_of(name: str) -> str | None:
    """The id of the job whose file has this name; None for any other file."""
    job_id, rest = name[:_ID_CHARS], name[_ID_CHARS:]
    is_ours = rest.startswith("_") and rest.endswith((".json", ".log"))
    return job_id if is_ours and job_id == job_id.lower() and is_uuid(job_id) else None
