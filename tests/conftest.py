"""What tests share: hypothesis' examples, threads, the built site and a browser for it.

The same examples at each run, no database of them, and one thread for small tensors.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tools.browser import FLAGS, find_browser
from tools.render import HTML

settings.register_profile(
    "book", derandomize=True, deadline=None, database=None, max_examples=15
)
settings.load_profile("book")

torch.set_num_threads(1)  # several threads would wait for each other longer than they work


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    if not (HTML / "index.html").is_file():
        pytest.fail("the site is not built: run make site (make test does it)")
    return HTML


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not write on the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """Address of the site on this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A browser without a window."""
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium or Chrome on this machine: the pages were not looked at")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield running
        running.close()
