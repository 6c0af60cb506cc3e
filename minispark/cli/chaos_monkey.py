"""`chaos monkey`: prints its schedule, carries it out, and reports what the cluster made of it."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.render import print_json, table
from minispark.client import Client

DURATION_S = 60.0
WAIT_S = 300.0
"""How long a job may take after the last fault."""


def run_monkey(folder: Path, args: argparse.Namespace) -> int:
    """Returns 1 when a job failed, or, with `--verify`, has another result than without faults."""
    from minispark.chaos.monkey import carry_out, schedule

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(2**32)
    duration_s = args.duration if args.duration is not None else DURATION_S
    planned = schedule(seed, duration_s, args.every)
    _say(args, f"seed {seed}; {len(planned)} faults in {duration_s:g} s:")
    for one in planned:
        _say(args, f"  at {one.at_s:7.3f} s  {one.action}  (victim seed {one.victim_seed})")
    with find_client(args) as client:
        before = {job["id"] for job in client.jobs() if job["state"] not in ("PENDING", "RUNNING")}
    report = carry_out(folder, planned, lambda at_s, what: _say(args, f"{at_s:7.2f} s  {what}"))
    with find_client(args) as client:
        jobs = [
            client.wait(job["id"], timeout_s=WAIT_S)
            for job in client.jobs()
            if job["id"] not in before
        ]
        verdicts = {job["id"]: _verdict(client, job) for job in jobs} if args.verify else {}
        causes = _causes(client, jobs)
    document: dict[str, Any] = {
        "action": "monkey",
        "seed": seed,
        "schedule": [
            {"at_s": one.at_s, "action": one.action, "victim_seed": one.victim_seed}
            for one in planned
        ],
        "faults": dict(report.faults),
        "missed": dict(report.missed),
        "tasks_retried": sum(causes.values()),
        "outputs_recomputed": causes["output"],
        "jobs": [
            {
                "id": job["id"],
                "name": job["request"]["name"],
                "state": job["state"],
                "same_result": verdicts.get(job["id"]),
            }
            for job in jobs
        ],
    }
    if args.json:
        print_json(document)
    else:
        _print(document)
    bad = [j for j in document["jobs"] if j["state"] == "FAILED" or j["same_result"] is False]
    return 1 if bad else 0


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text, file=sys.stderr, flush=True)


def _causes(client: Client, jobs: list[dict[str, Any]]) -> dict[str, int]:
    """Attempts of these jobs that ended without a lasting output, by whether it was one once."""
    counts = {"output": 0, "other": 0}
    for job in jobs:
        for state in ("FAILED", "LOST"):
            page = client.tasks(job["id"], limit=1000, state=state)
            for attempt in page["tasks"]:
                is_output = str(attempt["error"]).startswith("lost: ")
                counts["output" if is_output else "other"] += 1
    return counts


def _verdict(client: Client, job: dict[str, Any]) -> bool | None:
    """Whether the same request, run again without faults, gives the same records."""
    if job["state"] != "SUCCEEDED":
        return None
    again = client.wait(client.submit(job["request"])["id"], timeout_s=WAIT_S)
    if again["state"] != "SUCCEEDED":
        return False
    return sorted(client.results(job["id"]), key=repr) == sorted(
        client.results(again["id"]), key=repr
    )


def _print(document: dict[str, Any]) -> None:
    kinds = {**document["missed"], **document["faults"]}
    rows = [
        (kind, document["faults"].get(kind, 0), document["missed"].get(kind, 0))
        for kind in sorted(kinds)
    ]
    print(table(rows, ("fault", "done", "nothing there")))
    print(f"\ntasks retried {document['tasks_retried']}", end=", ")
    print(f"outputs recomputed {document['outputs_recomputed']}\n")
    said = {None: "not compared", True: "same as without faults", False: "DIFFERENT"}
    jobs = [(j["id"][:8], j["name"], j["state"], said[j["same_result"]]) for j in document["jobs"]]
    print(table(jobs, ("job", "name", "state", "result")))
    print(f"\nreplay: minispark chaos monkey --seed {document['seed']}")
