"""Which task a user means: by an attempt's id, or by JOB/STAGE/PARTITION.

Must not know what is done with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from minispark.cli.journal import Journal
from minispark.client import choose_job
from minispark.errors import InvalidRequest, NotFound
from minispark.model.ids import is_uuid

TASK_HELP = "an attempt's id, or a unique prefix of one, or JOB/STAGE/PARTITION: last/reduce/0"
PREFIX_CHARS_MIN = 4
_PREFIX = re.compile(r"[0-9a-f-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class TaskName:
    job_id: str
    stage: str
    partition: int

    def __str__(self) -> str:
        return f"{self.stage}/{self.partition}"


def find_task(journal: Journal, text: str) -> TaskName:
    """The task that the text names. Raises InvalidRequest, NotFound."""
    if "/" in text:
        return _by_place(journal, text)
    prefix = text.lower()
    if _PREFIX.fullmatch(prefix) is None or len(prefix) < PREFIX_CHARS_MIN:
        raise InvalidRequest(f"{text!r} names no task: give {TASK_HELP}")
    return _by_attempt(journal, prefix)


def _by_place(journal: Journal, text: str) -> TaskName:
    # from the right: a job's name may hold a slash, a stage's id holds none
    task_text, _, number = text.rpartition("/")
    job_text, _, stage_text = task_text.rpartition("/")
    if not job_text or not (number.isascii() and number.isdigit()):
        raise InvalidRequest(f"{text!r} names no task: give {TASK_HELP}")
    names = journal.names()
    job_id, name = names[choose_job(names, job_text)]
    stages = {stage.id: stage.partitions for stage in journal.stages(job_id)}
    if not stages:
        raise NotFound(f"job {name} has no tasks yet: it waits for a worker")
    if stage_text not in stages:
        near = get_close_matches(stage_text, stages, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(stages)}"
        raise NotFound(f"job {name} has no stage {stage_text!r}; {hint}")
    partition = int(number[:20])
    if partition >= stages[stage_text]:
        most = stages[stage_text] - 1
        raise NotFound(f"stage {stage_text} has the partitions 0 to {most}, and no {number[:20]}")
    return TaskName(job_id, stage_text, partition)


def _by_attempt(journal: Journal, prefix: str) -> TaskName:
    found: dict[TaskName, str] = {}
    for job_id, _ in reversed(journal.names()):
        for attempt in journal.attempts(job_id):
            if attempt["id"].startswith(prefix):
                found[TaskName(job_id, attempt["node_id"], attempt["partition_id"])] = attempt["id"]
        if found and is_uuid(prefix):
            break
    if not found:
        raise NotFound(
            f"no attempt has an id that begins with {prefix}; name it as JOB/STAGE/PARTITION"
        )
    if len(found) > 1:
        raise NotFound(f"{len(found)} tasks have such an id; write more than {prefix}")
    return next(iter(found))
