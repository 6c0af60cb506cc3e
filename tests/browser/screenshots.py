"""Makes the pictures of the page in `docs/page`: `python -m tests.browser.screenshots [FOLDER]`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.browser.gallery import (
    CRASH,
    all_up,
    branched,
    with_step,
    word_count,
    write_lines,
)
from tests.browser.pages import PHONE, Visitor, running_browser
from tests.cluster.harness import ROOT, Cluster, wait_until

LINES = 2400
BURN = """
def add(value):
    sum(range(150_000))
    return value
"""


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "page")
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster("scheduler.heartbeat_interval_s=1", workers=3, threads=2)
    try:
        assert cluster.up().returncode == 0, cluster.logs()
        with running_browser() as browser:
            visitor = Visitor(browser)
            take_pictures(cluster, visitor, folder)
            visitor.close()
    finally:
        cluster.close()


def take_pictures(cluster: Cluster, visitor: Visitor, folder: Path) -> None:
    path = cluster.folder / "lines.txt"
    write_lines(path, LINES)
    with cluster.client() as client:
        for job in (word_count(path, "wordcount", 8), branched(path)):
            client.wait(client.submit(job)["id"])
        failed = client.submit(with_step(word_count(path, "sums", 2), "sums:crash", CRASH))["id"]
        client.wait(failed)
        slow = with_step(word_count(path, "word count of a class", 48), "slow:add", BURN)
        job_id = client.submit(slow)["id"]
        page = visitor.visit(cluster)
        wait_until(lambda: client.job(job_id)["tasks"]["completed"] >= 12, "a third is done")
        os.kill(cluster.process("worker-2")["pid"], signal.SIGKILL)
        page.wait_for_timeout(900)
        page.screenshot(path=folder / "cluster.png")
        page = visitor.visit(cluster, f"jobs/{job_id}", theme="dark")
        wait_until(lambda: client.job(job_id)["tasks"]["completed"] >= 36, "most is done")
        page.wait_for_timeout(700)
        page.screenshot(path=folder / "job.png")
        client.wait(job_id)
        wait_until(lambda: all_up(client), "every worker is Up")
    page = visitor.visit(cluster, f"jobs/{failed}", language="es-CO")
    page.locator(".errors summary").first.click()
    page.locator("[data-key=timeline]").scroll_into_view_if_needed()
    page.screenshot(path=folder / "errores.png")
    page = visitor.visit(cluster, f"jobs/{job_id}", size=PHONE, theme="dark")
    page.screenshot(path=folder / "phone.png")


if __name__ == "__main__":
    main()
