"""An Ethernet switch in user space between network namespaces: delays, loses, slows down, cuts.

    python -m tests.hosts.wire SEED NAMESPACE=DEVICE…

It makes one TAP device in each namespace and then takes commands, a JSON line each, on stdin:
`{"link": [a, b], "delay_s": …, "loss": …, "bytes_per_s": …, "is_cut": …}` sets one direction, from
the namespace numbered `a` to `b`; each is answered by a line. `tc netem` does the same where the
kernel has it, but not every kernel has. Must not know hosts, addresses or what is sent.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000
FRAME_BYTES_MAX = 65536
FRAMES_PER_TURN = 256
QUEUE_S_MAX = 0.5
"""A slow link holds so much back, and drops the rest, as a router would."""


@dataclass(slots=True)
class Link:
    """One direction between two namespaces."""

    delay_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float = 0.0
    """0: as fast as it goes."""
    is_cut: bool = False
    free_at: float = field(default=0.0, repr=False)


class Wire:
    """Frames on their way."""

    def __init__(self, taps: list[int], rng: random.Random) -> None:
        self._taps = taps
        self._rng = rng
        self._places: dict[bytes, int] = {}
        """Behind which port a station was heard."""
        self._links = {(a, b): Link() for a in range(len(taps)) for b in range(len(taps)) if a != b}
        self._heap: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def run(self) -> None:
        """Until stdin ends."""
        buffered = b""
        while True:
            timeout = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None
            ready, _, _ = select.select([*self._taps, 0], [], [], timeout)
            for fd in ready:
                if fd == 0:
                    data = os.read(0, 65536)
                    if not data:
                        return
                    *lines, buffered = (buffered + data).split(b"\n")
                    for line in lines:
                        self._set(**json.loads(line))
                        print("ok", flush=True)
                else:
                    self._hear(self._taps.index(fd))
            self._deliver()

    def _set(self, link: list[int], **figures: Any) -> None:
        self._links[link[0], link[1]] = Link(**figures)

    def _hear(self, port: int) -> None:
        for _ in range(FRAMES_PER_TURN):
            try:
                frame = os.read(self._taps[port], FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            to, source = frame[:6], frame[6:12]
            self._places[source] = port
            place = self._places.get(to)
            targets = [place] if place is not None else range(len(self._taps))
            for target in targets:
                if target != port:
                    self._send(port, target, frame)

    def _send(self, port: int, target: int, frame: bytes) -> None:
        link = self._links[port, target]
        if link.is_cut or (link.loss and self._rng.random() < link.loss):
            return
        now = time.monotonic()
        if link.bytes_per_s:
            begins = max(now, link.free_at)
            if begins - now > QUEUE_S_MAX:
                return
            link.free_at = now = begins + len(frame) / link.bytes_per_s
        self._count += 1
        heapq.heappush(self._heap, (now + link.delay_s, self._count, target, frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._heap)
            try:
                os.write(self._taps[target], frame)
            except OSError:
                pass  # that host's device is full, or down: the frame is lost


def enter(path: str) -> None:
    """Put this process into a network namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {path}")
    os.close(fd)


def open_tap(namespace: str, device: str) -> int:
    """A TAP device of that name there."""
    own = f"/proc/{os.getpid()}/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}"
    enter(f"/run/netns/{namespace}")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    enter(own)
    return tap


def main() -> None:
    seed, *places = sys.argv[1:]
    taps = [open_tap(*place.split("=")) for place in places]
    print("ok", flush=True)
    Wire(taps, random.Random(int(seed))).run()


if __name__ == "__main__":
    main()
