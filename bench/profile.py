"""Where a job's time goes: the slots' time, told apart into phases. Made from the job's profile.
Must not know how the job was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from tabulate import tabulate

PHASES = ("read", "fetch", "compute", "merge", "shuffle write", "write", "wait", "other")


Span = tuple[float, float]
"""Begin and end; empty when it does not end after it begins."""


def length_outside(spans: Sequence[Span], others: Sequence[Span]) -> float:
    """Of the time that is in some of the spans, what is in none of the others."""
    cuts = sorted({at for span in (*spans, *others) for at in span})

    def is_in(begin: float, end: float, those: Sequence[Span]) -> bool:
        return any(first <= begin and end <= last for first, last in those)

    pieces = ((b, e) for b, e in pairwise(cuts) if is_in(b, e, spans) and not is_in(b, e, others))
    return sum(end - begin for begin, end in pieces)


def split(
    which: str, job: dict[str, Any], submitted_at: float, took_s: float, slots: int
) -> dict[str, Any]:
    """What the whole time is made of. `took_s` times the slots is all there is.

    `plan`: until the job was accepted. `dispatch`: from when a stage could begin until its first
    task ran, and from its last task's end until the job's is known. `commit`: from the last task's
    acceptance until its files had their names. All three are waited for by every slot, so they
    count only while no task of another stage ran. The phases are what executors measured; what is
    left is `idle`: slots without work, or between two tasks.
    """
    measured = [stage for stage in job["stages"] if stage["figures"] is not None]
    seconds = dict.fromkeys(("plan", "dispatch", *PHASES, "commit"), 0.0)
    seconds["plan"] = slots * max(0.0, job["created_at"] - submitted_at)
    seconds["dispatch"] = slots * max(0.0, submitted_at + took_s - job["ended_at"])
    ends = {stage["index"]: stage["figures"]["completed_at"] for stage in measured}
    waits: list[Span] = []
    runs: list[Span] = []
    commits: list[Span] = []
    for stage in measured:
        took = stage["figures"]
        could_begin = max([job["created_at"], *(ends[p] for p in stage["parents"] if p in ends)])
        if took["first_started_at"] is not None:
            waits.append((could_begin, took["first_started_at"]))
            runs.append((took["first_started_at"], took["last_accepted_at"]))
        commits.append((took["last_accepted_at"], took["completed_at"]))
        for phase, us in took["phases_us"].items():
            seconds[phase] = seconds.get(phase, 0.0) + us / 1e6
    seconds["dispatch"] += slots * length_outside(waits, runs)
    seconds["commit"] = slots * length_outside(commits, runs)
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


def shares(documents: Iterable[dict[str, Any]], style: str = "simple") -> str:
    """One line a job: the part of its slots' time that went into each phase."""
    rows: list[tuple[str, ...]] = []
    headers: tuple[str, ...] = ()
    for document in documents:
        seconds = document["slot_seconds"]
        total = document["slots"] * document["seconds"]
        headers = ("job", "time", *seconds)
        parts = (f"{100 * each / total:.1f} %" for each in seconds.values())
        rows.append((document["job"], f"{document['seconds']:.3g} s", *parts))
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)
