"""A standalone cluster of Spark's own on loopback: its master and its workers, as processes.

All that they write lies in one folder, and no process of theirs outlives the block.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pyspark

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
EXECUTOR_MB = 512
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A JVM that lives for seconds need not optimize what it runs."""
_SPARK = Path(pyspark.__file__).parent


@contextmanager
def standalone(folder: Path, workers: int) -> Iterator[str]:
    """The address of its master, `spark://…`, once all workers are registered. One core each."""
    with ExitStack() as stack:
        master = stack.enter_context(_process(folder, "master", "master.Master"))
        address = _logged(master, r"Starting Spark master at (spark://\S+)")
        logs = []
        for number in range(workers):
            name = f"worker-{number}"
            options = ["-c", "1", "-m", f"{EXECUTOR_MB}m", "-d", str(folder / name), address]
            logs.append(stack.enter_context(_process(folder, name, "worker.Worker", *options)))
        for log in logs:
            _logged(log, "(Successfully registered with master)")
        yield address


@contextmanager
def _process(folder: Path, name: str, java_class: str, *options: str) -> Iterator[Path]:
    """The process's log."""
    log = folder / f"{name}.log"
    environment = {
        **os.environ,
        "SPARK_HOME": str(_SPARK),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK_START,
        "SPARK_LOCAL_DIRS": str(folder),
    }
    command = [str(_SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{java_class}"]
    ports = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *ports, *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The process, which stops its executors; whoever of them is left then is killed."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, STOP_TIMEOUT_S)
    for child in alive:
        child.kill()


def _logged(log: Path, pattern: str) -> str:
    """What the log says there, once it does."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = re.search(pattern, log.read_text(errors="replace"))
        if found is not None:
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(f"{log} does not say {pattern!r}:\n{log.read_text(errors='replace')}")
