"""A worker as another implementation would write it: polls the documented HTTP endpoints, standard
library only, and knows nothing of this package."""

from __future__ import annotations

import csv
import json
import os
import threading
import urllib.request
from pathlib import Path
from typing import Any

NIL = "00000000-0000-0000-0000-000000000000"


def call(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """(status, decoded JSON or text). An unsuccessful status is no exception here."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, method=method)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, raw, kind = response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            status, raw, kind = error.code, error.read(), error.headers
    is_json = kind.get_content_type() == "application/json"
    return status, json.loads(raw) if is_json else raw.decode()


class ForeignWorker(threading.Thread):
    """Registers, heartbeats with each poll, runs what it is given, until `stop` is set."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.folder = folder
        self.done: list[dict[str, Any]] = []
        self.stop = threading.Event()
        _, registered = call(
            url, "POST", "/api/v1/workers/register", {"id": NIL, "host": "127.0.0.1", "port": 9500}
        )
        self.id = registered["id"]

    def run(self) -> None:
        while not self.stop.is_set():
            beat = {"worker_id": self.id, "active_tasks": 0}
            call(self.url, "POST", "/api/v1/workers/heartbeat", beat)
            status, task = call(self.url, "GET", f"/api/v1/workers/task?worker_id={self.id}")
            if status == 200:
                self.complete(task)
            else:
                self.stop.wait(0.01)

    def complete(self, task: dict[str, Any]) -> None:
        result = {
            "task_id": task["id"],
            "job_id": task["job_id"],
            "attempt": task["attempt"],
            "success": True,
            "error": None,
            "output_path": None,
            "records_processed": 0,
            "shuffle_outputs": [],
        }
        records = self.compute(task)
        result["records_processed"] = len(records)
        stem = f"{self.folder}/{task['job_id']}_{task['node_id']}"
        if task["op"] == "shuffle_write":
            total = task["total_partitions"]
            for target in range(total):
                path = f"{stem}_shuffle_p{task['partition_id']}_to_p{target}.json"
                self.write(path, [r for r in records if partition(r["key"], total) == target])
                result["shuffle_outputs"].append(path)
        else:
            result["output_path"] = f"{stem}_p{task['partition_id']}.json"
            self.write(result["output_path"], records)
        call(self.url, "POST", "/api/v1/workers/task/complete", result)
        self.done.append(task)

    @staticmethod
    def write(path: str, records: list[dict[str, Any]]) -> None:
        with open(path + ".tmp", "w") as file:
            json.dump({"records": records}, file)
        os.replace(path + ".tmp", path)

    def compute(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        if task["op"] == "read_csv":
            with open(task["input_path"], newline="") as file:
                rows = list(csv.reader(file))[1:]
            mine = rows[task["partition_id"] :: task["total_partitions"]]
            return [{"key": None, "value": row[0]} for row in mine]
        if task["is_shuffle_read"]:
            records = []
            for path in sorted(self.folder.iterdir()):
                ending = f"_to_p{task['partition_id']}.json"
                if task["job_id"] in path.name and "_shuffle_p" in path.name:
                    if path.name.endswith(ending):
                        records += json.loads(path.read_text())["records"]
            sums: dict[str, int] = {}
            for record in records:
                sums[record["key"]] = sums.get(record["key"], 0) + int(record["value"])
            return [{"key": key, "value": str(value)} for key, value in sums.items()]
        records = [
            record
            for path in task["input_partitions"]
            for record in json.loads(Path(path).read_text())["records"]
        ]
        match task["fn_name"]:
            case "split_words":
                return [{"key": r["key"], "value": w} for r in records for w in r["value"].split()]
            case "pair_with_one":
                return [{"key": r["value"], "value": "1"} for r in records]
            case _:
                return records


def partition(key: str | None, total: int) -> int:
    h = 0
    for byte in (key or "").encode():
        h = (h * 31 + byte) % 2**32
    return h % total
