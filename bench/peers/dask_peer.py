"""Dask's distributed scheduler, two processes: map and reduce by hand."""

from __future__ import annotations

from pathlib import Path

from distributed import Client

from bench.peers import by_hand


class Session:
    def __init__(self, folder: Path) -> None:
        self._client = Client(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
            local_directory=str(folder / "local"),
        )  # fmt: skip

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        submit = self._client.submit
        counted = [
            submit(by_hand.count, path, *r, pure=False) for r in by_hand.ranges(path, has_header)
        ]
        merged = [
            submit(by_hand.merge, str(out), i, *counted, pure=False) for i in range(by_hand.PARTS)
        ]
        self._client.gather(merged)

    def join(self, sales: str, products: str, out: Path) -> None:
        parts = enumerate(by_hand.ranges(sales, True))
        joined = [
            self._client.submit(by_hand.join, str(out), i, sales, *r, products, pure=False)
            for i, r in parts
        ]
        self._client.gather(joined)

    def no_ops(self, count: int) -> int:
        return sum(self._client.gather(self._client.map(by_hand.nothing, range(count), pure=False)))

    def close(self) -> None:
        self._client.close()


start = Session
