"""The driver process: where Spark's files go, what it says, and the loop.

Must not know who started it beyond its lifeline.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from minispark.driver.agent import DriverAgent, RunEnds
from minispark.driver.java import JavaWatch, kill_below
from minispark.driver.jobs import Jobs
from minispark.errors import ClusterError, ConfigError
from minispark.model.settings import Config
from minispark.spark.application import Application
from minispark.supervisor.notify import Notifier
from minispark.transport.host import host_id
from minispark.transport.messages import RUNNING_MAX, Register
from minispark.transport.tls import tls_of
from minispark.worker.attempt_files import AttemptFiles
from minispark.worker.identity import WorkerId
from minispark.worker.master_link import MasterLink
from minispark.worker.task_log import TaskLogs

SCRATCH = "spark"
"""Below the state directory: what the driver and Spark need while they run."""
DEFAULTS = {
    "spark.scheduler.mode": "FAIR",  # among jobs, as the local engine
    "spark.task.maxFailures": "1",  # the master has a task tried again, and counts
    "spark.cleaner.periodicGC.interval": "1min",  # Java deletes shuffles that it finds unused
    "spark.log.level": "WARN",
}

SAYS_NOTHING = (
    "A job was submitted with scheduler pool",  # each job has a pool of its own, and no file
    "Failed to cancel job group",  # which had ended a moment before
)
"""What Spark warns of at each job, and nobody can mend."""

logger = logging.getLogger("minispark.driver")


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What the driver needs to know besides the configuration."""

    name: str
    token: str
    master_host: str
    master_port: int


def run_driver(config: Config, settings: DriverSettings, notifier: Notifier, lifeline: int) -> int:
    """Serve until told to stop; returns the exit status."""
    try:
        tls = tls_of(config.security.tls)
        scratch = _own_scratch(Path(config.state_dir) / SCRATCH)
    except (OSError, ConfigError) as error:
        message = f"the driver cannot start: {error}"
        logger.error("%s", message)
        notifier.send({"error": message})
        return 1
    _say_what_java_says()
    logging.getLogger("py4j").setLevel(logging.WARNING)  # each of its connections
    worker_id = WorkerId(config.state_dir, settings.name)
    conf = {**DEFAULTS, **dict(config.engine.conf)}
    application = Application(config.engine.master, conf)
    ends = RunEnds()
    logs = TaskLogs(config.state_dir, settings.name, config.logging.format)
    jobs = Jobs(application, config.state_dir, scratch, config.memory.task_max_mb, logs, ends.put)

    def registration() -> Register:
        return Register(
            worker_id=worker_id.value,
            name=settings.name,
            host=settings.master_host,
            port=0,
            slots=0,
            pid=os.getpid(),
            host_id=host_id(),
            state_dir=config.state_dir,
            # of more than that the last ones are ordered again, and what Spark has reported at once
            running=(*link.unsent, *jobs.held)[:RUNNING_MAX],
            is_driver=True,
        )

    link = MasterLink(
        settings.master_host,
        settings.master_port,
        settings.token,
        registration,
        config.scheduler.heartbeat_timeout_s,
        tls.client,
    )
    agent = DriverAgent(
        link=link,
        jobs=jobs,
        ends=ends,
        worker_id=worker_id,
        files=AttemptFiles(config.state_dir),
        heartbeat_interval_s=config.scheduler.heartbeat_interval_s,
        lifeline=lifeline,
        notifier=notifier,
    )
    threading.Thread(target=_warm_up, args=(application,), name="warm-up", daemon=True).start()
    JavaWatch(application.pulse).start()
    try:
        return agent.run()
    finally:
        application.close()
        kill_below()  # a Java that was just starting does not end by itself
        shutil.rmtree(scratch, ignore_errors=True)


def _own_scratch(folder: Path) -> Path:
    """A directory of this process's own; those of earlier ones go. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.iterdir():
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
    tempfile.tempdir = str(scratch)  # also of what Spark makes, in Python and in Java
    return scratch


def _warm_up(application: Application) -> None:
    """Start Spark before the first job comes, which may find out itself that it cannot."""
    try:
        application.context()
    except ClusterError as error:
        logger.error("%s", error)


def _say_what_java_says() -> None:
    """What Java and Spark's workers print goes to this process's log, line by line."""
    read_fd, write_fd = os.pipe()
    for number in (1, 2):
        os.dup2(write_fd, number)
    os.close(write_fd)

    def follow() -> None:
        with open(read_fd, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.strip() and not any(words in line for words in SAYS_NOTHING):
                    logger.info("spark: %s", line.rstrip())

    threading.Thread(target=follow, name="spark's output", daemon=True).start()
