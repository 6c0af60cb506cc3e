"""Mini-Spark: a Spark-like batch cluster that one command starts on a laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from minispark.client import Client


def __getattr__(name: str) -> Any:
    """Load `Client` on first use, so that `import minispark` stays cheap."""
    if name == "Client":
        from minispark.client import Client

        return Client
    raise AttributeError(f"module 'minispark' has no attribute {name!r}")
