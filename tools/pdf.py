"""Print the built site into one PDF, with a bookmark a chapter.

    python -m tools.pdf

Chromium prints each page of the table of contents, with proofs and solutions open. (The
PDF builders of Jupyter Book fail on books with exercises, or need a TeX system.)
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, PdfMargins, sync_playwright
from pypdf import PdfReader, PdfWriter

from tools.bookfiles import ROOT, read_yaml, toc_files
from tools.browser import FLAGS, find_browser
from tools.render import HTML, missing_pages, page_of

PDF = HTML / "lpl-book.pdf"  # part of the site: each page links to it
MARGIN = PdfMargins(top="18mm", bottom="18mm", left="18mm", right="18mm")
READY = """async () => {
  if (window.MathJax) { await MathJax.startup.promise; }
  await document.fonts.ready;
  document.querySelectorAll("details.folded").forEach(box => { box.open = true; });
}"""


def print_pages(browser: Browser, files: Sequence[Path], target: Path) -> int:
    """Print the pages of these files of the table of contents; how many sheets."""
    book = PdfWriter()
    page = browser.new_page(color_scheme="light")
    for path in files:
        page.goto(page_of(path).as_uri(), wait_until="load")
        page.evaluate(READY)
        heading = page.locator("article h1").first.inner_text().strip("# \n")
        begins = len(book.pages)
        printed = page.pdf(format="A4", print_background=True, margin=MARGIN)
        book.append(PdfReader(io.BytesIO(printed)), import_outline=False)
        book.add_outline_item(title=heading, page_number=begins)
    page.close()
    book.add_metadata({"/Title": read_yaml(ROOT / "_config.yml")["title"]})
    book.compress_identical_objects()
    book.write(target)
    return len(book.pages)


def main() -> int:
    """Write the PDF; the exit status."""
    executable = find_browser()
    if executable is None:
        print("error: printing needs Chromium or Chrome; none was found", file=sys.stderr)
        return 1
    missing = missing_pages()
    if missing:
        print(f"error: no page of {', '.join(missing)}; run make site", file=sys.stderr)
        return 1
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=list(FLAGS))
        sheets = print_pages(browser, toc_files(), PDF)
        browser.close()
    print(f"{sheets} pages. The book is at {PDF.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
