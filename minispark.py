#!/usr/bin/env python3
"""The one entry point: `python minispark.py COMMAND`. Once installed, `minispark COMMAND` is the same."""

import importlib.util
import sys

PACKAGES = (("psutil", "psutil"), ("yaml", "PyYAML"), ("tabulate", "tabulate"))


def run() -> int:
    if sys.version_info < (3, 11):
        sys.exit("Mini-Spark needs Python 3.11 or later; this is " + sys.version.split()[0])
    missing = [name for module, name in PACKAGES if importlib.util.find_spec(module) is None]
    if missing:
        names = " ".join(missing)
        sys.exit(f"Mini-Spark needs {names}: run  {sys.executable} -m pip install {names}")
    from minispark.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
