"""`master`: one master in the foreground, configured by environment or options."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import replace

from minispark.cli.up import add_config_options, config_of

EXAMPLES = """\
examples:
  minispark master -c conf/full.yaml
  MASTER_HTTP_PORT=8081 minispark master --state-dir /tmp/other
"""
SEE_ALSO = ("worker", "up")
EXITS = {1: "it could not start, or failed", 3: "a cluster runs here already"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    from minispark.cluster import check_security, listen
    from minispark.master.main import MasterSettings, run_master
    from minispark.supervisor import state_dir as state_dirs
    from minispark.supervisor.notify import Notifier
    from minispark.supervisor.process_log import configure_logging

    config, is_default = config_of(args)
    notices = check_security(config)
    folder, _ = state_dirs.prepare(config.state_dir, is_default)
    config = replace(config, state_dir=str(folder))
    lock = state_dirs.lock(folder)
    token = state_dirs.token_of(folder, config.security.token)
    log = config.logging
    configure_logging("master", log.level, log.format, None, log.max_mb, log.backups)
    for notice in notices:
        logging.getLogger("minispark.master").warning("%s", notice)
    http_sock = listen(config.master.host, config.master.http_port)
    worker_sock = listen(config.master.host, config.master.socket_port)
    settings = MasterSettings(token, os.getcwd(), 1)
    try:
        return run_master(config, settings, http_sock, worker_sock, Notifier(None), None)
    finally:
        os.close(lock)
