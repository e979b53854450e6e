"""How a page loads: nothing on it jumps, and it runs only the scripts that it needs.

After the build, in every page,

- each picture gets its width and height, so that its room is kept while it loads;
- a figure of several panels gets a box of its own, which scrolls on a phone;
- each formula in a line of text is given about the width it will have once it is set,
  so that lines do not break anew, and kept together with the comma or full stop after
  it;
- the theme's search index waits until the page stands (``defer``).

A script that makes one figure move is added to the pages that have the figure.
"""

from __future__ import annotations

import html
import re
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sphinx.application import Sphinx

WIDE = 800  # pixels; a narrower figure is legible at any width
MOVING = {  # the scripts of each moving figure, by the name of the figure
    "fig-12-try": ("figures.js", "two-gaussians.js"),
    "fig-13-try": ("figures.js", "three-class-borders.js"),
    "fig-4-try": ("figures.js", "three-class-ball.js"),
    "fig-6-try": ("figures.js", "loss-variation-data.js", "loss-variation.js"),
}
INSIDE = r'(?:[^">]|"[^"]*")*?'  # of a tag
IMAGE = re.compile(rf'<img\b(?!{INSIDE}\bwidth="){INSIDE}\bsrc="(?P<src>[^":]+)"{INSIDE}>')
SEARCH = re.compile(
    r'<script (?=src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*">)'
)
FORMULA = re.compile(
    r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>([.,;:!?)’”]*)', re.S
)
SILENT = re.compile(
    r"\\(?:[bB]igg?[lr]?|left|right|operatorname|math[a-z]+|text|tilde|hat|bar|q?quad"
    r"|[,;:! ])"
)
WORD = re.compile(r"\\(log|exp|max|min|sum|sup|inf|arg)(?![A-Za-z])")
RELATION = re.compile(
    r"\\(?:leq?|geq?|neq?|in|to|approx|pm|times|cdot|sim)(?![A-Za-z])|[=<>+-]"
)
SMALL = re.compile(r"[_^](?:\{[^{}]*\}|\\?\w+|.)")
SHORT = 12  # ems: a formula that a phone shows in one line, with the sign after it
LENGTH = re.compile(r"([\d.]+)(pt|px|)")
PIXELS = {"pt": 4 / 3, "px": 1.0, "": 1.0}  # of a CSS length


def size(path: Path) -> tuple[int, int] | None:
    """Width and height in CSS pixels of an SVG or PNG file that says them."""
    if path.suffix not in (".png", ".svg") or not path.is_file():
        return None
    data = path.read_bytes()
    if path.suffix == ".png":
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    tag = re.search(r"<svg\b[^>]*>", data[:4000].decode("utf-8", "ignore"))
    found = [
        LENGTH.fullmatch(said[1])
        for name in ("width", "height")
        if tag and (said := re.search(rf'\b{name}="([^"]+)"', tag[0]))
    ]
    if len(found) < 2 or None in found:
        return None
    width, height = (round(float(m[1]) * PIXELS[m[2]]) for m in found if m)
    return width, height


def ems(latex: str) -> float:
    """Roughly how wide a formula is, in units of the size of the text's letters.

    The three widths are fitted to the book's formulas (1,917 of them: half an em off in
    the mean); fractions are taken for wider than they are.
    """
    latex = WORD.sub(r"\1", SILENT.sub("", html.unescape(latex)))
    relations = len(RELATION.findall(SMALL.sub("", latex)))

    def signs(part: str) -> int:
        one_each = re.sub(r"\\[A-Za-z]+", "x", RELATION.sub("", part))
        return len(re.sub(r"[{}_^\\\s]", "", one_each))

    small = "".join(SMALL.findall(latex))
    return 1.45 * relations + 0.61 * signs(SMALL.sub("", latex)) + 0.51 * signs(small)


def settle(page: Path) -> None:
    """Give the pictures and formulas of one page their room."""
    text = page.read_text(encoding="utf-8")

    def sized(found: re.Match[str]) -> str:
        measured = size(page.parent / unquote(found["src"]))
        if measured is None:
            return found[0]
        width, height = measured
        tag = found[0].replace("<img", f'<img width="{width}" height="{height}"', 1)
        in_figure = "_images/" in found["src"] and 'class="' not in found[0]
        return f'<div class="wide">{tag}</div>' if in_figure and width >= WIDE else tag

    def spaced(found: re.Match[str]) -> str:
        width = ems(found[1])
        tag = found[0].replace("<span", f'<span style="--ems: {width:.1f}"', 1)
        return f'<span class="kept">{tag}</span>' if found[2] and width < SHORT else tag

    changed = FORMULA.sub(spaced, IMAGE.sub(sized, SEARCH.sub("<script defer ", text)))
    if changed != text:
        page.write_text(changed, encoding="utf-8")


def settle_pages(app: Sphinx, error: Exception | None) -> None:
    """Do so in every page; the pictures have been copied by now."""
    if error is None:
        for page in Path(app.outdir).rglob("*.html"):
            settle(page)


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add the scripts of the moving figures that stand on this page."""
    for name, scripts in MOVING.items():
        if f'id="{name}"' in context.get("body", ""):
            for script in scripts:
                app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it with Sphinx."""
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", settle_pages, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
