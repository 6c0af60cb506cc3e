"""`doctor`: what could be wrong here; each check is ok, or says what to do."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from minispark.cli.find import state_dir_of
from minispark.cli.render import colour, print_json
from minispark.cli.up import add_config_options
from minispark.config import load
from minispark.errors import ClusterError, ConfigError
from minispark.model.settings import Config

EXAMPLES = """\
examples:
  minispark doctor                    before the first `up`, and when something is strange
  minispark doctor -c conf/3workers.yaml           are its ports free?
  minispark doctor -c conf/spark.yaml              and are pyspark and Java here?
"""
SEE_ALSO = ("config", "up")
EXITS = {1: "something is not ok", 3: ""}
DISK_FREE_MIN_MB = 500
FILES_MIN = 1024
Check = tuple[str, bool, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    config = load(args.config, os.environ, args.set).config
    checks = list(_checks(config, state_dir_of(args)))
    if args.json:
        print_json([{"check": name, "ok": ok, "message": text} for name, ok, text in checks])
    else:
        for name, ok, text in checks:
            mark = colour("ok  ", "green") if ok else colour("FAIL", "red")
            print(f"{mark} {name:<12} {text}")
    return 0 if all(ok for _, ok, _ in checks) else 1


def _checks(config: Config, folder: Path) -> Iterator[Check]:
    version = sys.version.split()[0]
    yield "python", sys.version_info >= (3, 11), f"{version} (3.11 or later is needed)"
    yield from _packages()
    yield from _state(folder)
    yield from _limits()
    yield from _spark(config)
    yield from _tls(config)
    from minispark.supervisor.state_dir import read_cluster_file

    if read_cluster_file(folder) is None:
        yield from _ports(config)


def _packages() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("psutil", "PyYAML", "tabulate"):
        try:
            yield name, True, version(name)
        except PackageNotFoundError:
            yield name, False, f"missing: {sys.executable} -m pip install {name}"


def _state(folder: Path) -> Iterator[Check]:
    from minispark.supervisor.state_dir import read_cluster_file

    existing = next(path for path in (folder, *folder.parents) if path.exists())
    can_write = os.access(existing, os.W_OK)
    yield "state dir", can_write, f"{folder}" if can_write else f"{existing} is not writable"
    free_mb = shutil.disk_usage(existing).free // 2**20
    yield "disk", free_mb >= DISK_FREE_MIN_MB, f"{free_mb} MB free ({DISK_FREE_MIN_MB} are needed)"
    document = read_cluster_file(folder)
    if document is not None:
        yield "cluster", True, f"supervisor {document['processes'][0]['pid']} runs"
    elif (folder / "cluster.json").exists():
        yield "cluster", False, "one was killed and left its cluster.json: run `down`"
    else:
        yield "cluster", True, "none runs here"


def _limits() -> Iterator[Check]:
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = files >= FILES_MIN
    hint = "" if is_enough else f": raise it with `ulimit -n {FILES_MIN}`"
    yield "open files", is_enough, f"{files} ({FILES_MIN} are needed){hint}"


def _spark(config: Config) -> Iterator[Check]:
    from minispark.spark.installed import require_spark

    if config.engine.name == "spark":
        try:
            require_spark()
        except ClusterError as error:
            yield "spark", False, str(error)
        else:
            yield "spark", True, "pyspark, and a Java that is new enough"


def _tls(config: Config) -> Iterator[Check]:
    from minispark.transport.tls import tls_of

    if config.security.tls.is_on:
        try:
            tls_of(config.security.tls)
        except ConfigError as error:
            yield "tls", False, str(error)
        else:
            yield "tls", True, f"{config.security.tls.cert} and its key"


def _ports(config: Config) -> Iterator[Check]:
    wanted = [("http", config.master.http_port), ("socket", config.master.socket_port)]
    wanted += [(spec.name, spec.port) for spec in config.own_workers()]
    for name, port in wanted:
        if not port:
            continue
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((config.master.host, port))
            except OSError as error:
                text = f"port {port}: {error.strerror}; choose another, or 0 for any"
                yield name, False, text
            else:
                yield name, True, f"port {port} is free"
