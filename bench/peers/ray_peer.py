"""Ray, two processes: map and reduce by hand."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import ray

from bench.peers import by_hand

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


class Session:
    def __init__(self, folder: Path) -> None:
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR, _node_ip_address="127.0.0.1",
        )  # fmt: skip
        self._count = ray.remote(by_hand.count)
        self._merge = ray.remote(by_hand.merge)
        self._join = ray.remote(by_hand.join)
        self._nothing = ray.remote(by_hand.nothing)

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        counted = [self._count.remote(path, *r) for r in by_hand.ranges(path, has_header)]
        ray.get([self._merge.remote(str(out), i, *counted) for i in range(by_hand.PARTS)])

    def join(self, sales: str, products: str, out: Path) -> None:
        parts = enumerate(by_hand.ranges(sales, True))
        ray.get([self._join.remote(str(out), i, sales, *r, products) for i, r in parts])

    def no_ops(self, count: int) -> int:
        return sum(ray.get([self._nothing.remote(i) for i in range(count)]))

    def close(self) -> None:
        ray.shutdown()


start = Session
