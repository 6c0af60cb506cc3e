"""Whether Spark can run here: pyspark, and a Java that is new enough. Must not know jobs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess

from minispark.errors import ClusterError

PACKAGE = "pyspark>=4.0.5"
"""As in pyproject.toml: a checkout has no name that pip knows."""
JAVA_MIN = 17
"""The oldest Java that Spark 4 runs on."""
JAVA_TIMEOUT_S = 30.0
"""A loaded machine takes seconds to start Java; longer than this it hangs."""
_VERSION = re.compile(r'version "(?:1\.)?([0-9]+)')


def require_spark() -> None:
    """Raises ClusterError that says what to install."""
    if importlib.util.find_spec("pyspark") is None:
        raise ClusterError(f"the engine spark needs the package pyspark: pip install '{PACKAGE}'")
    wanted = f"the engine spark needs Java {JAVA_MIN} or later (a JRE is enough)"
    java = java_path()
    if java is None:
        raise ClusterError(f"{wanted}, and none was found: install one, or set JAVA_HOME")
    version = _java_version(java)
    if version is None:
        raise ClusterError(f"{wanted}, and {java} does not say its version")
    if version < JAVA_MIN:
        raise ClusterError(f"{wanted}, and {java} is Java {version}: install it, or set JAVA_HOME")


def java_path() -> str | None:
    """The Java that Spark will start: that of JAVA_HOME, or the first in PATH."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")


def _java_version(java: str) -> int | None:
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=JAVA_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(said.stderr + said.stdout)
    return int(found[1]) if found is not None else None
