"""`chaos monkey`: prints its schedule, carries it out, and reports what the cluster made of it."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from minispark.cli.durations import exactly
from minispark.cli.find import document_of
from minispark.cli.render import print_json, table
from minispark.client import Client
from minispark.errors import MiniSparkError
from minispark.supervisor.state_dir import read_cluster_file, why_ended

DURATION_S = 60.0
EVERY_S = 2.0
WAIT_S = 300.0
"""How long a job may take after the last fault."""
SETTLE_S = 30.0
"""How long processes may take to come back, or to be given up, after the last job."""
POLL_S = 0.05


def run_monkey(folder: Path, args: argparse.Namespace) -> int:
    """Returns 1 when a job failed, or, with `--verify`, has another result than without faults;
    also when a process ended for good.
    """
    from minispark.chaos.monkey import carry_out
    from minispark.chaos.schedule import schedule
    from minispark.model.places import SERVERS
    from minispark.model.settings import RestartSection

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(2**32)
    for_s, every_s = args.duration or DURATION_S, args.every or EVERY_S
    cluster = document_of(folder)
    restart = RestartSection(**cluster.get("restart", {}))
    workers = [p["name"] for p in cluster["processes"] if p["name"] not in SERVERS]
    planned = schedule(seed, for_s, every_s, workers, restart)
    _say(args, f"seed {seed}; {len(planned)} faults in {exactly(for_s)}:")
    for one in planned:
        what = f"{one.action} {one.target or ''}"
        _say(args, f"  at {one.at_s:7.3f} s  {what:<26}  (victim seed {one.victim_seed})")
    with Client.of_state_dir(folder) as client:
        before = {job["id"] for job in client.jobs() if job["state"] not in ("PENDING", "RUNNING")}
        report = carry_out(
            folder, planned, restart, lambda at_s, what: _say(args, f"{at_s:7.2f} s  {what}")
        )
        jobs, error = _jobs(client, before, args.verify)
    ended = _ended_for_good(folder)
    document: dict[str, Any] = {
        "action": "monkey",
        "seed": seed,
        "for_s": for_s,
        "every_s": every_s,
        "schedule": [
            {
                "at_s": one.at_s,
                "action": one.action,
                "target": one.target,
                "victim_seed": one.victim_seed,
            }
            for one in planned
        ],
        "inflicted": [done.document() for done in report.inflicted],
        "faults": dict(Counter(done.fault.action for done in report.inflicted)),
        "missed": dict(report.missed),
        "tasks_retried": sum(job["tasks_retried"] for job in jobs),
        "outputs_recomputed": sum(job["outputs_recomputed"] for job in jobs),
        "jobs": jobs,
        "ended_for_good": ended,
        "error": error,
    }
    if args.json:
        print_json(document)
    else:
        _print(document, args.verify)
    is_bad = error is not None or any(map(_is_bad, jobs))
    return 1 if ended or is_bad else 0


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text, file=sys.stderr, flush=True)


# --- what came of it --------------------------------------------------------------------------


def _jobs(
    client: Client, before: set[str], is_verified: bool
) -> tuple[list[dict[str, Any]], str | None]:
    """The jobs that ran during the faults, each with its end; and why they cannot be told."""
    try:
        ids = [job["id"] for job in client.jobs() if job["id"] not in before]
    except MiniSparkError as error:
        return [], str(error)
    return [job_report(client, job_id, is_verified) for job_id in ids], None


def job_report(client: Client, job_id: str, is_verified: bool) -> dict[str, Any]:
    """How one job ended. What cannot be told has an `error`; the others' reports still count."""
    report: dict[str, Any] = {
        "id": job_id,
        "name": None,
        "state": None,
        "same_result": None,
        "tasks_retried": 0,
        "outputs_recomputed": 0,
        "error": None,
    }
    try:
        info = client.job(job_id)
        report["name"], report["state"] = info["request"]["name"], info["state"]
        info = client.wait(job_id, timeout_s=WAIT_S)
        report["state"] = info["state"]
        for state in ("FAILED", "LOST"):
            for attempt in client.attempts(job_id, state):
                report["tasks_retried"] += 1
                report["outputs_recomputed"] += str(attempt["error"]).startswith("lost: ")
        if is_verified and info["state"] == "SUCCEEDED":
            report["same_result"] = _is_same_again(client, info)
    except MiniSparkError as error:
        report["error"] = str(error)
    return report


def _is_same_again(client: Client, job: dict[str, Any]) -> bool:
    """Whether the same request, run again without faults, gives the same records."""
    again = client.wait(client.submit(job["request"])["id"], timeout_s=WAIT_S)
    if again["state"] != "SUCCEEDED":
        return False
    return sorted(client.results(job["id"]), key=repr) == sorted(
        client.results(again["id"]), key=repr
    )


def _is_bad(job: dict[str, Any]) -> bool:
    return job["state"] == "FAILED" or job["same_result"] is False or job["error"] is not None


def _ended_for_good(folder: Path) -> list[dict[str, Any]]:
    """Processes that do not come back, once none is on its way any more."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        processes = (read_cluster_file(folder) or {"processes": []})["processes"]
        ended = [process for process in processes if why_ended(process) is not None]
        is_settled = len(ended) + sum(p["state"] == "RUNNING" for p in processes) == len(processes)
        if is_settled or time.monotonic() > deadline:
            return [{"name": process["name"], "why": why_ended(process)} for process in ended]
        time.sleep(POLL_S)  # how often the file is looked at


def _print(document: dict[str, Any], is_verified: bool) -> None:
    kinds = {**document["missed"], **document["faults"]}
    rows = [
        (kind, document["faults"].get(kind, 0), document["missed"].get(kind, 0))
        for kind in sorted(kinds)
    ]
    print(table(rows, ("fault", "done", "nothing there")))
    print(f"\ntasks retried {document['tasks_retried']}", end=", ")
    print(f"outputs recomputed {document['outputs_recomputed']}\n")
    said = {None: "not compared", True: "same as without faults", False: "DIFFERENT"}
    jobs = [
        (j["id"][:8], j["name"], j["state"], j["error"] or said[j["same_result"]])
        for j in document["jobs"]
    ]
    print(table(jobs, ("job", "name", "state", "result")))
    for process in document["ended_for_good"]:
        print(f"\n{process['why']}")
    if document["error"] is not None:
        print(f"\n{document['error']}")
    print(
        f"\nreplay: minispark chaos monkey --seed {document['seed']} "
        f"--for {exactly(document['for_s'])} --every {exactly(document['every_s'])}"
        f"{' --verify' if is_verified else ''}"
    )
