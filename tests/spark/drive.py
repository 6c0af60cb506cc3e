"""Runs a job on a master of Spark's, as its driver: a process has one SparkContext, and the tests'
own process has one already.

usage: python -m tests.spark.drive MASTER FOLDER
FOLDER/request.json is the job; FOLDER/near gets its files, and FOLDER/far those of tasks that
believe that they run on another host.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

from minispark.spark import translate
from minispark.spark.context import spark_context
from minispark.spark.translate import SparkJob
from tests.in_process import JOB_ID, plan_of
from tests.spark.both_engines import TASK_MAX_MB
from tests.spark.standalone import EXECUTOR_MB, QUICK_START

CONF = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": QUICK_START,
    "spark.executor.memory": f"{EXECUTOR_MB}m",
    "spark.executor.extraJavaOptions": QUICK_START,
    "spark.log.level": "ERROR",
}


def main(master: str, folder: Path) -> None:
    plan = plan_of(json.loads((folder / "request.json").read_text()))
    with spark_context(master, CONF, "tests") as sc:
        for place in ("near", "far"):
            (folder / place).mkdir()
            job = SparkJob(sc, plan, JOB_ID, TASK_MAX_MB)
            if place == "far":
                translate.host_id = lambda: "another host"
            written = job.run(folder / place)
            executors = sc._jsc.sc().getExecutorMemoryStatus().size() - 1  # without the driver
            said = {"executors": executors, "tasks": len(job.outcomes), "finals": len(written)}
            print(json.dumps(said))
    print(json.dumps({"children": len(psutil.Process().children(recursive=True))}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
