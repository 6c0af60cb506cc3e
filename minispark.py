#!/usr/bin/env python3
"""The one entry point: `python minispark.py COMMAND`. Once installed, `minispark COMMAND` is the same."""

import sys

if sys.version_info < (3, 11):
    sys.exit("Mini-Spark needs Python 3.11 or later; this is " + sys.version.split()[0])

import importlib.util
import os

# beside the package of the same name, this file must not be what `import minispark` finds
_HERE = os.path.dirname(os.path.abspath(__file__))
_MISSING = [
    package
    for module, package in (("psutil", "psutil"), ("yaml", "PyYAML"), ("tabulate", "tabulate"))
    if importlib.util.find_spec(module) is None
]
if _MISSING:
    names = " ".join(_MISSING)
    sys.exit(f"Mini-Spark needs {names}: run  {sys.executable} -m pip install {names}")

if __name__ == "__main__":
    from minispark.cli.main import main

    sys.exit(main())
