"""`bench`: this cluster beside its baselines. The measures are in the checkout's `bench/`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from minispark.errors import ClusterError

SEE_ALSO = ("run", "explain")
EXITS = {1: "a result was wrong", 2: "the usage is wrong", 3: ""}
ROOT = Path(__file__).parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    command = _command()
    parser.epilog = command.EXAMPLES
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    words = sys.argv[sys.argv.index("bench") + 1 :] if "bench" in sys.argv else []
    code: int = _command().run(args, words)
    return code


def _command() -> Any:
    """The module that does it. Raises ClusterError where only the package is installed."""
    if not (ROOT / "bench" / "command.py").exists():
        raise ClusterError("bench needs a checkout of Mini-Spark: run `python minispark.py bench`")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("bench.command")
