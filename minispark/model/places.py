"""Where things lie unless somebody says otherwise, and what is called how. Must not know who looks
there.
"""

from __future__ import annotations

DEFAULT_STATE_DIR = "/tmp/minispark"
DRIVER = "spark-driver"
"""The process that runs jobs on Apache Spark."""
SERVERS = ("supervisor", "master", DRIVER)
"""Whatever else a supervisor runs is a worker."""
