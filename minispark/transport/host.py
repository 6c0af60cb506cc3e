"""Which host this is: processes with the same host id may read each other's files by path, and read
the same clock; and which addresses only it can reach.

Must not know who asks.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import time
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
HOST_ID_VARIABLE = "MINISPARK_HOST_ID"
CLOCK_SAMPLES = 5


def host_id() -> str:
    """Equal for processes of one running system; another one after a reboot. `HOST_ID_VARIABLE`
    says it where name and boot do not tell, as for containers that share both and no files.
    """
    own = os.environ.get(HOST_ID_VARIABLE)
    if own:
        return _digest(own)
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return _digest(f"{socket.gethostname()}/{boot}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def clock_offset_s() -> float:
    """From this host's monotonic clock, which all its processes read, to UNIX time."""
    samples: list[tuple[float, float]] = []
    for _ in range(CLOCK_SAMPLES):
        before_s, unix_s, after_s = time.monotonic(), time.time(), time.monotonic()
        samples.append((after_s - before_s, unix_s - (before_s + after_s) / 2))
    return min(samples)[1]  # between whose readings least time passed


def addresses_of(host: str, port: int) -> list[tuple[Any, ...]]:
    """Where to connect, as `socket.getaddrinfo` has it. Raises OSError.

    A name in ASCII goes there as bytes: for text it imports a codec and its tables, which takes
    longer than anything else that a worker does until it is ready.
    """
    name = host.encode("ascii") if host.isascii() else host
    return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))


def local_address_toward(host: str) -> str:
    """This host's address on the way to that one. Sends nothing.

    Raises OSError: no way leads there, or nobody knows the name.
    """
    family, _, _, _, address = addresses_of(host, 9)[0]  # any port: nothing is sent
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        return str(sock.getsockname()[0])


def is_loopback(address: str) -> bool:
    """Whether only processes of this host reach what listens on that name or IP address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def may_be_a_sites(name: str) -> bool:
    """Whether a web site of somebody else can have that name, and then tell a browser that it lies
    here: not an IP address, this host's own name, or one without a dot, which no site has.
    """
    if "." not in name.rstrip(".") or name == socket.gethostname().lower():
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
