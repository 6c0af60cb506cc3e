"""`worker`: one worker in the foreground, for scripts, containers and other hosts."""

from __future__ import annotations

import argparse
import os
import socket
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from minispark.cli.up import add_config_options, config_of
from minispark.client import DEFAULT_URL, Client
from minispark.errors import ConfigError, NoCluster
from minispark.model.settings import Config, TlsSection, WorkerSpec
from minispark.supervisor.state_dir import read_cluster_file
from minispark.transport.host import local_address_toward

EXAMPLES = """\
examples:
  WORKER_PORT=9000 WORKER_THREADS=2 minispark worker --master http://127.0.0.1:8080
  minispark worker --master 10.0.0.1:7077 --token-file token     on another host
  minispark worker --master 10.0.0.1:7077 --token-file token -c tls.yaml     with TLS
"""
SEE_ALSO = ("master", "up")
EXITS = {1: "it could not start, or failed", 3: "the master cannot be reached"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser)
    parser.add_argument("--name", help="default: the host's name and the port")
    parser.add_argument(
        "--token-file", metavar="FILE", help="the cluster's token; default: as in the environment"
    )
    parser.add_argument(
        "--advertise",
        metavar="ADDR",
        help="where others reach it; default: where it binds, or its address on the way to the "
        "master",
    )
    parser.add_argument("--host", help="where to bind; default: the address of --advertise")


def run(args: argparse.Namespace) -> int:
    from minispark.cluster import EVERY_ADDRESS
    from minispark.supervisor import state_dir as state_dirs
    from minispark.supervisor.notify import Notifier
    from minispark.supervisor.process_log import configure_logging
    from minispark.worker.main import WorkerSettings, run_worker

    config, is_default = config_of(args)
    folder, _ = state_dirs.prepare(config.state_dir, is_default)
    config = replace(config, state_dir=str(folder))
    token = _token(args, config.security.token, folder)
    config = _with_tls_of(folder, config)
    address = args.master or os.environ.get("MASTER_URL") or DEFAULT_URL
    host, port = _socket_address(address, token, config.security.tls.ca or None)
    section = config.workers
    name = args.name or f"{socket.gethostname()}-{section.base_port}"
    spec = WorkerSpec(
        name, section.base_port, section.threads, section.cache_max_mb, section.fail_probability
    )
    log = config.logging
    configure_logging(name, log.level, log.format, None, log.max_mb, log.backups, name)
    own = args.host if args.host != EVERY_ADDRESS else None
    advertised = args.advertise or own or _address_toward(host)
    settings = WorkerSettings(spec, token, args.host or advertised, advertised, host, port)
    return run_worker(config, settings, Notifier(None), None)


def _token(args: argparse.Namespace, configured: str, folder: Path) -> str:
    """Raises ConfigError: there is none, or it cannot be read."""
    path = args.token_file
    if path is None and configured != "auto":
        return configured
    try:
        return (Path(path) if path else folder / "token").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if path:
            raise ConfigError(f"--token-file {path}: {error}") from error
        raise ConfigError(
            "this worker does not know the cluster's token: say --token-file, set MINISPARK_TOKEN "
            "or MINISPARK_TOKEN_FILE, or share the master's --state-dir"
        ) from error


def _with_tls_of(folder: Path, config: Config) -> Config:
    """Who shares the master's state directory finds there what it uses."""
    document = read_cluster_file(folder)
    if config.security.tls.is_on or document is None or not document.get("tls"):
        return config
    tls = TlsSection(**document["tls"])
    return replace(config, security=replace(config.security, tls=tls))


def _address_toward(host: str) -> str:
    """Raises NoCluster: no way leads there."""
    try:
        return local_address_toward(host)
    except OSError as error:
        raise NoCluster(f"no way leads to the master at {host}: {error}") from error


def _socket_address(address: str, token: str, ca: str | None) -> tuple[str, int]:
    """HOST:7077 as it stands; of an http:// or https:// address the master is asked. Raises
    NoCluster.
    """
    if address.startswith(("http://", "https://")):
        with Client(address.rstrip("/"), token, ca=ca) as client:
            port = client.cluster()["socket_port"]
        return urlsplit(address).hostname or "127.0.0.1", int(port)
    host, _, port_text = address.rpartition(":")
    if not host or not port_text.isdigit():
        raise NoCluster(
            f"{address!r} is no HOST:PORT, and no http:// or https:// address of a master"
        )
    return host, int(port_text)
