"""Render the site from the stored outputs, from nothing, and check its pages.

    python -m tools.render

Warnings are errors. An earlier site is removed first: a build on top of one
reads only the changed pages again, and so hides the others' warnings.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.bookfiles import ROOT, toc_files

BUILD = ROOT / "_build"
HTML = BUILD / "html"
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"


def page_of(path: Path, root: Path = ROOT, html: Path = HTML) -> Path:
    """The HTML page of a file of the table of contents."""
    return html / path.relative_to(root).with_suffix(".html")


def missing_pages(root: Path = ROOT, html: Path = HTML) -> list[str]:
    """Files of the table of contents that have no page."""
    return [
        path.relative_to(root).as_posix()
        for path in toc_files(root)
        if not page_of(path, root, html).is_file()
    ]


def at_the_root(page: str, folder: str) -> str:
    """A page of a folder, with links that hold one folder above.

    >>> at_the_root('<a href="../x.js?v=1"> <a href="b/c.html#d"> <a href="#e">', "book")
    '<a href="x.js?v=1"> <a href="book/b/c.html#d"> <a href="#e">'
    """

    def moved(link: re.Match[str]) -> str:
        return f'{link[1]}="{posixpath.relpath(posixpath.join(folder, link[2]))}'

    links = r'\b(href|src)="(?![a-z]+:|#|/)([^"?#]+)'
    return re.sub(links, moved, page).replace('content_root="../"', 'content_root="./"')


def render() -> int:
    """Build the site anew; the exit status."""
    try:
        toc_files()
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in ("html", ".doctrees", "jupyter_execute"):
        shutil.rmtree(BUILD / name, ignore_errors=True)
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", ".", "-W", "-n"]
    done = subprocess.run(
        [*command, "--keep-going", "-q"],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout)
        print("error: the site was not built; see the messages above", file=sys.stderr)
        return 1
    missing = missing_pages()
    if missing:
        print(done.stdout)
        print(f"error: no page was made of {', '.join(missing)}", file=sys.stderr)
        return 1
    front = (HTML / "book" / "index.html").read_text(encoding="utf-8")
    (HTML / "index.html").write_text(at_the_root(front, "book"), encoding="utf-8")
    count = len(toc_files())
    print(f"{count} pages. The book is at {HTML.relative_to(ROOT) / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(render())
