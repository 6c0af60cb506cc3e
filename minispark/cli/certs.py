"""`certs`: makes what TLS needs: a small CA, and a certificate of it for some hosts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minispark.cli.authority import Authority
from minispark.cli.render import print_json
from minispark.errors import ConfigError

EXAMPLES = """\
examples:
  minispark certs certs --host 10.0.0.1 --host 10.0.0.2 > tls.yaml     a file for `up -c`
  minispark certs certs --host spark-1.example --host spark-2.example --days 90
"""
SEE_ALSO = ("token", "up", "worker")
EXITS = {1: "", 3: ""}
DAYS = 365
DAYS_MAX = 3650
OWN_HOSTS = ("localhost", "127.0.0.1")
"""In every certificate: processes of one host may reach each other so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="DIR",
        help="where to; with a CA of an earlier call in it, that one signs",
    )
    parser.add_argument(
        "--host",
        action="append",
        required=True,
        metavar="NAME_OR_IP",
        help="a name or IP address by which a master or worker is reached; may be said several "
        "times",
    )
    parser.add_argument(
        "--days",
        type=int,
        default=DAYS,
        metavar="N",
        help=f"how long the certificate is valid; default: {DAYS}",
    )


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.days <= DAYS_MAX:
        raise ConfigError(f"--days is 1 to {DAYS_MAX}, not {args.days}")
    folder = Path(os.path.abspath(args.folder))
    hosts = tuple(dict.fromkeys((*args.host, *OWN_HOSTS)))
    made = Authority(folder).issue(hosts, args.days)
    if args.json:
        print_json(
            {
                "tls": {"cert": made.cert, "key": made.key, "ca": made.ca},
                "ca_key": made.ca_key,
                "hosts": hosts,
                "ends_at": made.ends_at.isoformat(),
                "ca_ends_at": made.ca_ends_at.isoformat(),
            }
        )
        return 0
    if args.quiet:
        return 0
    import yaml

    print(
        f"# {made.cert} is for {', '.join(hosts)}\n"
        f"# and ends on {made.ends_at:%Y-%m-%d}; its CA ends on {made.ca_ends_at:%Y-%m-%d}.\n"
        f"# To each host that runs a master or worker: {made.cert}, {made.key} (mode 600) and "
        f"{made.ca}.\n"
        f"# To each host with clients only: {made.ca}, named by MINISPARK_TLS_CA.\n"
        f"# To none: {made.ca_key}. Who has it can pose as any host. Keep it to make the next "
        "certificate."
    )
    files = {"cert": made.cert, "key": made.key, "ca": made.ca}
    print(yaml.safe_dump({"security": {"tls": files}}, sort_keys=False), end="")
    return 0
