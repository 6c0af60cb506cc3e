"""Where things lie unless somebody says otherwise. Must not know who looks there."""

from __future__ import annotations

DEFAULT_STATE_DIR = "/tmp/minispark"
