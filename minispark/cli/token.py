"""`token`: makes the secret that a cluster's processes and clients share."""

from __future__ import annotations

import argparse
import os
import secrets

from minispark.cli.render import print_json
from minispark.errors import ConfigError

EXAMPLES = """\
examples:
  minispark token -o token                         a file that only you can read
  MINISPARK_TOKEN=$(minispark token)               for this one time
"""
SEE_ALSO = ("certs", "up", "worker")
EXITS = {1: "", 3: ""}
TOKEN_BYTES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to write it, which must not be there yet; default: it is printed",
    )


def run(args: argparse.Namespace) -> int:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    if args.output is None:
        if args.json:
            print_json({"token": token})
        else:
            print(token)
        return 0
    write_secret(args.output, f"{token}\n".encode())
    if args.json:
        print_json({"token_file": os.path.abspath(args.output)})
    elif not args.quiet:
        print(f"{args.output} holds a new token (mode 600)")
    return 0


def write_secret(path: str, data: bytes) -> None:
    """A file of mode 600. Raises ConfigError where one is already, or none can be."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already, and is not overwritten") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
