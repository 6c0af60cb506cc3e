"""A SparkContext whose Python workers can run our tasks. Must not know jobs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import minispark
from minispark.errors import ClusterError
from minispark.spark.failed_tasks import IN_THE_LOG, spark_errors_read
from minispark.spark.installed import require_spark

if TYPE_CHECKING:
    from pyspark import SparkContext

STACK = "-Xss16m"
"""Java walks a lineage recursively. With its usual 1 MiB a plan of 250 shuffles, which the planner
allows, overflows the stack.
"""
DEFAULTS = {
    "spark.ui.enabled": "false",  # the page and the metrics are ours
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": STACK,
    "spark.executor.extraJavaOptions": STACK,
}
LOCAL_DEFAULTS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.authenticate": "true",  # with a secret that Spark makes: other users share the loopback
}
"""With all executors in the driver's process nobody else needs to reach its ports."""

ID_OF_NO_MASTER = "spark-application-"
STOP_TIMEOUT_S = 30.0
"""Java deletes its temporary files at its end; longer than this it hangs."""


@contextmanager
def spark_context(master: str, conf: Mapping[str, str], name: str) -> Iterator[SparkContext]:
    """Of the one application that a process may have. `master` and `conf` are Spark's.

    Its workers run this Python, by its path, and get this package, whatever else they have
    installed. Raises ClusterError where Spark is not installed, or does not start.
    """
    require_spark()
    from pyspark import SparkConf, SparkContext

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark_conf = SparkConf().setMaster(master).setAppName(name)
    with tempfile.TemporaryDirectory(prefix="minispark-spark-") as folder:
        local = LOCAL_DEFAULTS if master.startswith("local") else {}
        # a Java that is killed leaves what it has there
        scratch = {"spark.driver.defaultJavaOptions": f'-Djava.io.tmpdir="{folder}"'}
        settings = {**DEFAULTS, **local, **scratch, **conf}
        package = write_package(Path(folder))
        properties = write_properties(Path(folder), settings)
        # everybody on this host can read a command line
        words = f"--properties-file {shlex.quote(str(properties))} pyspark-shell"
        os.environ["PYSPARK_SUBMIT_ARGS"] = words
        try:
            with spark_errors_read():
                sc = SparkContext(conf=spark_conf)
                sc.addPyFile(str(package))
            try:
                if not _is_registered(sc, master):
                    raise ClusterError(f"Spark failed: no master answers at {master}; {IN_THE_LOG}")
                yield sc
            finally:
                sc.stop()
        finally:
            _end_java(SparkContext)


def is_alive(sc: SparkContext) -> bool:
    """Whether it can still run something: Java may have ended. pyspark has no public way to say."""
    from py4j.protocol import Py4JError

    try:
        return not sc._jsc.sc().isStopped()
    except (Py4JError, OSError):
        return False


def _is_registered(sc: SparkContext, master: str) -> bool:
    """Whether Spark's own master took the application. Where none answers the context is made all
    the same, after a minute, with an id that no master gave, and stops soon.
    """
    return not (master.startswith("spark://") and sc.applicationId.startswith(ID_OF_NO_MASTER))


def _end_java(of: type[SparkContext]) -> None:
    """Wait until the Java process has ended, which deletes its files then. Without that it outlives
    this process by a second or two. pyspark has no public way to say so.
    """
    gateway, of._gateway, of._jvm = of._gateway, None, None
    of._active_spark_context = None  # also where Java is gone, and could not be told to stop
    if gateway is None:
        return
    with suppress(OSError):  # it is gone already
        gateway.shutdown()
    gateway.proc.stdin.close()  # Java ends with its input
    try:
        gateway.proc.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()


def write_properties(folder: Path, settings: Mapping[str, str]) -> Path:
    """Spark's settings as a file of Java's properties, which only this user can read."""
    path = folder / "spark.properties"
    lines = [f"{_escaped(name)}={_escaped(value)}\n" for name, value in settings.items()]
    with open(path, "w", encoding="ascii", opener=_open_private) as file:
        file.writelines(lines)
    return path


def _escaped(text: str) -> str:
    """As Java's properties have it: JSON's escapes are among theirs, and a few more characters mean
    something there.
    """
    return re.sub("([ =:#!])", r"\\\1", json.dumps(text)[1:-1])


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_package(folder: Path) -> Path:
    """This package's modules, as a zip file that Python imports from."""
    root = Path(minispark.__file__).parent
    path = folder / "minispark-package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in sorted(root.rglob("*.py")):
            archive.write(module, Path(root.name) / module.relative_to(root))
    return path
