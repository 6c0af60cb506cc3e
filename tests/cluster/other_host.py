"""A worker that takes itself for one of another host, and sees another folder in one's place.

Where Linux allows it that is a mount and UTS namespace. Elsewhere this module, run as a program,
stands in for it: it opens the inputs of that folder in the other one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minispark.cli.main import main
from minispark.storage import input_files
from minispark.transport.host import HOST_ID_VARIABLE
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster, wait_until

NAME = "far"
_IN_NAMESPACES = ("unshare", "--mount", "--uts", "sh", "-ec")
_SCRIPT = """
echo another-host > /proc/sys/kernel/hostname
mount --bind "$1" "$0"
shift
exec "$@"
"""


def has_namespaces() -> bool:
    try:
        probe = [*_IN_NAMESPACES, _SCRIPT, os.sep, os.sep, "true"]
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


VIEWS = ["another name", *(["another mount"] if has_namespaces() else [])]


@contextmanager
def far_worker(
    cluster: Cluster, view: str, hidden: Path, shown: Path, **more: str
) -> Iterator[None]:
    """A worker of the cluster, up within the block, which sees `shown` in the place of `hidden`.
    `more`: of its environment.
    """
    port = cluster.process("master")["ports"]["socket"]
    words = ["worker", "--master", f"127.0.0.1:{port}", "--name", NAME]
    environment = {
        **PLAIN_ENVIRONMENT,
        "MINISPARK_TOKEN": (cluster.state_dir / "token").read_text().strip(),
        "MINISPARK_STATE_DIR": str(cluster.folder / NAME),
        "WORKER_PORT": "0",
        "WORKER_THREADS": "2",
        **more,
    }
    if view == "another mount":
        program = [sys.executable, str(ROOT / "minispark.py")]
        command = [*_IN_NAMESPACES, _SCRIPT, str(hidden), str(shown), *program, *words]
    else:
        environment[HOST_ID_VARIABLE] = "another host"
        program = [sys.executable, "-m", "tests.cluster.other_host"]
        command = [*program, str(hidden), str(shown), *words]
    log = cluster.state_dir / "logs" / f"{NAME}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        with cluster.client() as client:
            wait_until(
                lambda: [w for w in client.workers() if (w["name"], w["status"]) == (NAME, "Up")],
                "the worker of the other host is up",
            )
        yield
    finally:
        process.terminate()
        process.wait(20)


def run_with_another_name(hidden: str, shown: str, words: list[str]) -> int:
    """`minispark WORDS`, for which inputs below `hidden` are those below `shown`."""
    real = input_files._open_without_links

    def open_there(path: str) -> int:
        is_below = path.startswith(hidden + os.sep)
        return real(shown + path.removeprefix(hidden) if is_below else path)

    input_files._open_without_links = open_there
    return main(words)


if __name__ == "__main__":
    sys.exit(run_with_another_name(sys.argv[1], sys.argv[2], sys.argv[3:]))
