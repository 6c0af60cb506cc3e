"""What looks at a cluster while it works: an open page, and a scraper. A process of its own.

usage: python -m bench.observers MASTER_URL TOKEN METRICS_URL...
prints a line when it looks at everything, then how often it did at its end, and ends with its
input. The page is that of `minispark/web/static`: it follows the events, asks for the overview and
for the newest job as often as there. Drawing is the browser's; this only reads what it is sent.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

OVERVIEW_S = 0.5
"""Between `POLL_MS_SOON` and `POLL_MS_BUSY` of the page."""
JOB_S = 0.4
"""As `PAUSE_MS_MIN` of the page."""
SCRAPE_S = 1.0


class Observer:
    """Asks one server, over one connection."""

    def __init__(self, url: str, token: str, looks: Counter[str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
        self._looks = looks

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status not in (200, 404):  # a job has no profile yet
            raise SystemExit(f"{path} answers {answer.status}: {data[:200]!r}")
        self._looks[path.split("?")[0].rpartition("/")[2]] += 1
        return data

    def follow(self) -> None:
        """Read events until the connection ends."""
        self._connection.request("GET", "/api/v1/events?after=0", headers=self._headers)
        answer = self._connection.getresponse()
        while line := answer.readline():
            self._looks["event"] += line.startswith(b"data: ")


def main() -> None:
    url, token, *metrics_urls = sys.argv[1:]
    looks: Counter[str] = Counter()
    is_over = threading.Event()

    def every(interval_s: float, look: Callable[[], Any]) -> None:
        def run() -> None:
            while not is_over.wait(interval_s):
                look()

        look()
        threading.Thread(target=run, daemon=True).start()

    page, view = Observer(url, token, looks), Observer(url, token, looks)

    def look_at_newest_job() -> None:
        jobs = json.loads(view.get("/api/v1/jobs"))
        if jobs and jobs[-1]["state"] == "RUNNING":
            path = f"/api/v1/jobs/{jobs[-1]['id']}"
            for part in ("", "/stages", "/tasks?limit=1000&offset=0", "/profile"):
                view.get(path + part)

    threading.Thread(target=Observer(url, token, looks).follow, daemon=True).start()
    every(OVERVIEW_S, lambda: page.get("/api/v1/overview"))
    every(JOB_S, look_at_newest_job)
    for address in (f"{url}/metrics", *metrics_urls):
        scraper = Observer(address, token, looks)
        every(SCRAPE_S, lambda scraper=scraper: scraper.get("/metrics"))  # type: ignore[misc]
    print("looking", flush=True)
    sys.stdin.read()
    is_over.set()
    print(json.dumps(looks), flush=True)


if __name__ == "__main__":
    main()
