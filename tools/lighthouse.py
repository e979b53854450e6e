"""Measure pages of the built site with Lighthouse: performance, accessibility, weight.

    python -m tools.lighthouse                  the front page and two chapters
    python -m tools.lighthouse book/index ...   these pages

Lighthouse comes from npm, once; the pages are served from this machine, compressed as
GitHub Pages does it. Each page is measured three times, and the median counts: scores of
performance fall when something else keeps the processor busy.
The exit status is 1 where a score is below 95, the front page weighs more than a
megabyte, or another page more than three.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.browser import find_browser
from tools.npm import have_npm, installed
from tools.render import HTML

VERSION = "12.8.2"  # the newest that runs on Node 18 and 20
FRONT = "book/index"
PAGES = (FRONT, "book/method/01-features-logits-labels", "book/practice/06-long-tail")
LEAST = 95
MOST_FRONT, MOST = 1_000_000, 3_000_000  # bytes transferred
CATEGORIES = ("performance", "accessibility")
COMPRESSED = ("text/", "javascript", "json", "svg", "xml")


class Compressing(http.server.SimpleHTTPRequestHandler):
    """A quiet file server that compresses text, and lets the browser keep files."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file, or the index of a folder."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        data, kind = path.read_bytes(), self.guess_type(str(path))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "max-age=600")
        if any(part in kind for part in COMPRESSED):
            data = gzip.compress(data, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def compressed(folder: Path = HTML) -> Iterator[str]:
    """Serve a folder on this machine; its address."""
    handler = functools.partial(Compressing, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def measure(address: str, browser: str) -> dict[str, Any]:
    """Lighthouse's report of one visit on a desktop computer."""
    done = subprocess.run(
        [
            installed("lighthouse", VERSION) / ".bin" / "lighthouse",
            address,
            "--quiet",
            "--preset=desktop",
            f"--only-categories={','.join(CATEGORIES)}",
            "--output=json",
            "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
        ],
        env={**os.environ, "CHROME_PATH": browser},
        check=True,
        stdout=subprocess.PIPE,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def summary(reports: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over several visits: scores from 0 to 100, bytes, and the processor."""

    def median(*keys: str) -> float:
        values: list[Any] = list(reports)
        for key in keys:
            values = [value[key] for value in values]
        return float(statistics.median(values))

    scores = {name: 100 * median("categories", name, "score") for name in CATEGORIES}
    return scores | {
        "bytes": median("audits", "total-byte-weight", "numericValue"),
        "blocking, ms": median("audits", "total-blocking-time", "numericValue"),
        "shift": median("audits", "cumulative-layout-shift", "numericValue"),
        "processor": median("environment", "benchmarkIndex"),
    }


def complaints(page: str, found: dict[str, float]) -> list[str]:
    """What of a page is not as it should be."""
    most = MOST_FRONT if page == FRONT else MOST
    out = [f"{page}: {n} {found[n]:.0f}" for n in CATEGORIES if round(found[n]) < LEAST]
    return out + [f"{page}: {found['bytes']:.0f} bytes"] * (found["bytes"] > most)


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.lighthouse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pages", nargs="*", default=list(PAGES), metavar="PAGE")
    parser.add_argument("--visits", type=int, default=3, help="per page; default: 3")
    options = parser.parse_args(arguments)
    browser = find_browser()
    if browser is None or not have_npm():
        print("error: Lighthouse needs npm, and Chromium or Chrome", file=sys.stderr)
        return 2
    bad = []
    with compressed() as address:
        for page in options.pages:
            visits = range(options.visits)
            found = summary([measure(f"{address}{page}.html", browser) for _ in visits])
            said = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            print(f"{page}: {said}", flush=True)
            bad += complaints(page, found)
    print(*bad, sep="\n", end="\n" if bad else "", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
