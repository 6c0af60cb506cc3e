"""Finds the running cluster of a command: `--master`, `MASTER_URL`, or the state directory's own
file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from minispark.client import Client, choose_job
from minispark.errors import NoCluster
from minispark.model.places import DEFAULT_STATE_DIR


def state_dir_of(args: argparse.Namespace) -> Path:
    """The state directory that the command is about; another user's default one is passed over."""
    explicit = args.state_dir or os.environ.get("MINISPARK_STATE_DIR")
    if explicit:
        return Path(explicit).absolute()
    default = Path(DEFAULT_STATE_DIR)
    if default.exists() and default.stat().st_uid != os.getuid():
        return default.with_name(f"{default.name}-{os.getuid()}")
    return default


def document_of(folder: Path) -> dict[str, Any]:
    """The `cluster.json` of the cluster that runs there. Raises NoCluster."""
    from minispark.supervisor.state_dir import read_cluster_file

    document = read_cluster_file(folder)
    if document is None:
        raise NoCluster(f"no cluster runs on {folder}; start one with `up`")
    return document


def find_client(args: argparse.Namespace) -> Client:
    """A client of the cluster. The token of a state directory goes only to that directory's master.

    With `-v` it is said which cluster that is. Raises NoCluster.
    """
    client = _client(args)
    if args.verbose:
        print(f"minispark: the master is {client.master_url}", file=sys.stderr)
    return client


def _client(args: argparse.Namespace) -> Client:
    url = args.master or (None if args.state_dir else os.environ.get("MASTER_URL"))
    token = token_of_environment()
    if url is None:
        return Client.of_state_dir(state_dir_of(args))
    if token is None:
        try:
            own = Client.of_state_dir(state_dir_of(args))
        except NoCluster:
            return Client(url)
        if own.master_url == url.rstrip("/"):
            return own
    return Client(url.rstrip("/"), token)


def find_job_offline(args: argparse.Namespace, text: str) -> str:
    """The id of the job that the text names; where no cluster runs, among those that the state
    directory remembers. Raises NotFound.
    """
    try:
        with find_client(args) as client:
            return str(client.find_job(text)["id"])
    except NoCluster:
        pass
    try:
        saved = json.loads((state_dir_of(args) / "state" / "jobs.json").read_bytes())
        jobs = [(str(job_id), str(job["name"])) for job_id, job in saved["jobs"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        jobs = []
    return jobs[choose_job(jobs, text)][0]


def token_of_environment() -> str | None:
    """`MINISPARK_TOKEN`, or what `MINISPARK_TOKEN_FILE` holds."""
    path = os.environ.get("MINISPARK_TOKEN_FILE")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("MINISPARK_TOKEN")
