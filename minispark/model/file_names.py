"""The documented names of partition and shuffle files, all directly below the state directory.

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


def job_of(name: str) -> str | None:
    """The id of the job whose documented file has this name; None for any other file."""
    job_id, rest = name[:_ID_CHARS], name[_ID_CHARS:]
    is_ours = rest.startswith("_") and rest.endswith(".json")
    return job_id if is_ours and job_id == job_id.lower() and is_uuid(job_id) else None
