"""Certificates for tests: a CA of their own, and another one."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from minispark.cli.authority import Authority
from minispark.model.settings import TlsSection
from minispark.transport.tls import Tls, tls_of

_folder = tempfile.TemporaryDirectory(prefix="minispark-certificates-")


def section(name: str = "ours") -> TlsSection:
    """Files of the CA of that name, for this host by `localhost` and 127.0.0.1."""
    return _section(name)


def tls(name: str = "ours") -> Tls:
    """Contexts of them."""
    return _tls(name)


@functools.cache
def _section(name: str) -> TlsSection:
    made = Authority(Path(_folder.name) / name).issue(("localhost", "127.0.0.1"), 30)
    return TlsSection(made.cert, made.key, made.ca)


@functools.cache
def _tls(name: str) -> Tls:
    return tls_of(_section(name))
