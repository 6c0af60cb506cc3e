"""`up`: starts a master and workers, in the foreground or detached."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minispark.cli.logs import Tail
from minispark.cli.ps import print_processes
from minispark.config import load
from minispark.model.settings import Config

if TYPE_CHECKING:
    from minispark.supervisor.forked import ForkedProcess

EXAMPLES = """\
examples:
  minispark up                                     three workers, in the foreground; Ctrl-C stops
  minispark up -d -c conf/3workers.yaml            detached; returns when every worker is Up
  minispark up --set workers.count=5 --set workers.threads=1
"""
SEE_ALSO = ("down", "ps", "logs", "config")
EXITS = {
    1: "a process failed for good",
    3: "a cluster runs here already",
    4: "not every worker was Up in time",
}
POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background")
    add_config_options(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="how long workers may take; default: 30",
    )


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """`-c` and `--set`."""
    parser.add_argument("-c", "--config", metavar="FILE", help="a YAML configuration")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of it; may be said several times",
    )


def config_of(args: argparse.Namespace) -> tuple[Config, bool]:
    """The effective configuration, and whether its state directory is the default one."""
    overrides = list(args.set)
    if args.state_dir:
        overrides.append(f"state_dir={os.path.abspath(args.state_dir)}")
    loaded = load(args.config, os.environ, overrides)
    return loaded.config, "state_dir" not in loaded.origins


def run(args: argparse.Namespace) -> int:
    from minispark.cli.other_hosts import await_up
    from minispark.client import Client
    from minispark.cluster import start
    from minispark.supervisor.forked import ForkedProcess
    from minispark.supervisor.stop_signals import StopSignals

    config, is_default = config_of(args)
    with StopSignals() as signals:
        started = start(
            config,
            os.getcwd(),
            is_default_dir=is_default,
            is_detached=args.detach,
            timeout_s=args.timeout,
            signals=signals,
        )
        for notice in (*started.notices, *(f"minispark: {why}" for why in started.fatal)):
            _say(notice)
        folder = Path(started.place)
        if config.awaited_workers():
            _say_what_to_start(config, folder)
        if isinstance(started.supervisor, ForkedProcess):
            return _follow(started.supervisor, folder)
    print_processes(folder, args)
    if config.awaited_workers():
        with Client.of_state_dir(folder) as client:
            await_up(client, config, args.timeout)
    return 1 if started.fatal else 0


def _say_what_to_start(config: Config, folder: Path) -> None:
    from minispark.cli.other_hosts import instructions
    from minispark.supervisor.state_dir import read_cluster_file

    for line in instructions(config, read_cluster_file(folder) or {}, folder):
        _say(line)


def _follow(supervisor: ForkedProcess, folder: Path) -> int:
    """Show the logs until the supervisor ends; signals are its to handle."""
    from minispark.supervisor.forked import how_it_ended
    from minispark.supervisor.state_dir import read_cluster_file

    document: dict[str, Any] = read_cluster_file(folder) or {}
    _say(f"The cluster is up: {document.get('page_url')}   Ctrl-C stops it.")
    tail = Tail(folder / "logs")
    is_shown = True
    while True:
        code = supervisor.reap()
        if is_shown:
            is_shown = _show(tail)
        if code is not None:
            break
        time.sleep(POLL_S)  # how often logs are looked at
    if code >= 0:
        return code
    _say(f"minispark: the supervisor ended with {how_it_ended(code)}")
    return 1


def _show(tail: Tail) -> bool:
    """Print what is new; False when nobody can read it any more. The cluster goes on."""
    try:
        tail.print_new()
    except OSError as error:  # a pipe that was closed, a terminal that is gone, a full disk
        _say(f"minispark: logs are no longer shown here ({error.strerror}); Ctrl-C stops it.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still unwritten
        return False
    return True


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody reads it; that is no reason to end the cluster
