"""`up`: starts a master and workers, in the foreground or detached."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from minispark.cli.logs import Tail
from minispark.cli.ps import print_processes
from minispark.config import Config, load

EXAMPLES = """\
examples:
  minispark up                                     three workers, in the foreground; Ctrl-C stops
  minispark up -d -c conf/3workers.yaml            detached; returns when every worker is Up
  minispark up --set workers.count=5 --set workers.threads=1
"""
POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="a YAML configuration")
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="default: 30")


def config_of(args: argparse.Namespace) -> tuple[Config, bool]:
    """The effective configuration, and whether its state directory is the default one."""
    overrides = list(args.set)
    if args.state_dir:
        overrides.append(f"state_dir={os.path.abspath(args.state_dir)}")
    loaded = load(args.config, os.environ, overrides)
    return loaded.config, "state_dir" not in loaded.origins


def run(args: argparse.Namespace) -> int:
    from minispark.cluster import start

    config, is_default = config_of(args)
    started = start(
        config,
        os.getcwd(),
        is_default_dir=is_default,
        is_detached=args.detach,
        timeout_s=args.timeout,
    )
    for notice in (*started.notices, *(f"minispark: {why}" for why in started.fatal)):
        print(notice, file=sys.stderr)
    folder = Path(config.state_dir)
    if started.notices:
        folder = folder.with_name(f"{folder.name}-{os.getuid()}")
    if args.detach:
        print_processes(folder, args)
        return 1 if started.fatal else 0
    return _follow(started.pid, folder)


def _follow(pid: int, folder: Path) -> int:
    """Show the logs until the supervisor ends; Ctrl-C and SIGTERM are its to handle."""
    from minispark.supervisor.state_dir import read_cluster_file

    document: dict[str, Any] = read_cluster_file(folder) or {}
    print(f"The cluster is up: {document.get('page_url')}   Ctrl-C stops it.", file=sys.stderr)
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sent it to the supervisor too
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    tail = Tail(folder / "logs")
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        tail.print_new()
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)  # how often logs are looked at
