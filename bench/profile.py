"""Where a job's time goes: the slots' time, told apart into phases. Made from the job's profile."""

from __future__ import annotations

import time
from typing import Any

from tabulate import tabulate

from bench.site import Site
from bench.warm import request_of, run_job

WORKERS, THREADS = 2, 1
PHASES = ("read", "fetch", "compute", "merge", "shuffle write", "write", "wait", "other")


def profile(site: Site, which: str) -> dict[str, Any]:
    """Of one warm job: its seconds, and the slots' seconds by phase. Raises WrongResult."""
    paths = site.paths(which[0])
    request = request_of(which, paths, "fused")
    with site.cluster(WORKERS, THREADS) as (_, client):
        run_job(client, request)
        submitted_at = time.time()
        took_s, info = run_job(client, request)
        return split(which, client.profile(info["id"]), submitted_at, took_s, WORKERS * THREADS)


def split(
    which: str, job: dict[str, Any], submitted_at: float, took_s: float, slots: int
) -> dict[str, Any]:
    """What the whole time is made of. `took_s` times the slots is all there is.

    `plan`: until the job was accepted. `dispatch`: from when a stage could begin until its first
    task ran, and from its last task's end until the job's is known. `commit`: from the last task's
    acceptance until its files had their names. All three are waited for by every slot. The phases
    are what executors measured; what is left is `idle`: slots without work, or between two tasks.
    """
    measured = [stage for stage in job["stages"] if stage["figures"] is not None]
    seconds = dict.fromkeys(("plan", "dispatch", *PHASES, "commit"), 0.0)
    seconds["plan"] = slots * max(0.0, job["created_at"] - submitted_at)
    seconds["dispatch"] = slots * max(0.0, submitted_at + took_s - job["ended_at"])
    ends = {stage["index"]: stage["figures"]["completed_at"] for stage in measured}
    for stage in measured:
        took = stage["figures"]
        could_begin = max([job["created_at"], *(ends[p] for p in stage["parents"] if p in ends)])
        if took["first_started_at"] is not None:
            seconds["dispatch"] += slots * max(0.0, took["first_started_at"] - could_begin)
        seconds["commit"] += slots * max(0.0, took["completed_at"] - took["last_accepted_at"])
        for phase, us in took["phases_us"].items():
            seconds[phase] = seconds.get(phase, 0.0) + us / 1e6
    total = slots * took_s
    seconds["idle"] = max(0.0, total - sum(seconds.values()))
    return {"job": which, "seconds": took_s, "slots": slots, "slot_seconds": seconds}


def text(document: dict[str, Any]) -> str:
    """As a table."""
    total = document["slots"] * document["seconds"]
    rows = [
        (phase, f"{seconds:.3f}", f"{100 * seconds / total:.1f} %")
        for phase, seconds in document["slot_seconds"].items()
    ]
    head = f"{document['job']}: {document['seconds']:.3f} s on {document['slots']} slots"
    headers = ("phase", "slot seconds", "of all")
    align = ("left", "right", "right")
    return f"{head}\n{tabulate(rows, headers, disable_numparse=True, colalign=align)}"
