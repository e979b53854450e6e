"""Make a deck of slides (reveal.js) of every chapter, by nbconvert.

    python -m tools.slides               all chapters, into _build/slides
    python -m tools.slides CHAPTER...    these

A cell that has a slide type (Jupyter's cell metadata ``slideshow``) is shown as that says,
with its code. The others follow the chapter's form: a heading begins a slide, on which are
the first paragraph and the formulas of its section; the rest are the speaker's notes (key
S). Each box is a slide, and each figure with its caption, and the claims that a cell
checks. Exercises and further reading are left out. The decks need no network and no server.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

import nbformat

from tools.bookfiles import (
    ROOT,
    Cell,
    Notebook,
    chapters,
    claims,
    is_setup,
    joined,
    read_notebook,
    title,
)
from tools.myst import plain
from tools.render import BUILD

SLIDES = BUILD / "slides"
TEMPLATE = Path(__file__).with_name("slides_template")
HEADING = re.compile(r"^(#{1,4}) +(.+)$", re.MULTILINE)
LEFT_OUT = re.compile(r"exercises|further reading|check yourself|quiz", re.IGNORECASE)
IMAGES = ("image/svg+xml", "image/png", "image/jpeg")


def sections(text: str) -> Iterator[tuple[str, str]]:
    """(heading with its marks, text below it); the first heading may be empty."""
    pieces = re.split(r"(?m)^(?=#{1,4} )", text)
    for piece in filter(str.strip, pieces):
        match = HEADING.match(piece)
        yield (match[0], piece[match.end() :]) if match else ("", piece)


def split(text: str) -> tuple[str, list[str], str]:
    """Of a section: what stands below its heading, its boxes, the speaker's notes."""
    shown, boxes, notes = [], [], []
    for k, block in enumerate(filter(None, re.split(r"\n{2,}", text.strip()))):
        if block.startswith(">"):
            boxes.append(block)
        elif k == 0 or block.startswith(("![", "$$")):
            shown.append(block)
        else:
            notes.append(block)
    return "\n\n".join(shown), boxes, "\n\n".join(notes)


def markdown(source: str, kind: str) -> Cell:
    """A Markdown cell with a slide type."""
    metadata = {"slideshow": {"slide_type": kind}}
    return dict(nbformat.v4.new_markdown_cell(source, metadata=metadata))


def section(heading: str, text: str) -> Iterator[Cell]:
    """A slide with the heading, one for each box, notes."""
    shown, boxes, notes = split(text)
    if heading:
        top = heading.startswith(("# ", "## "))
        yield markdown(f"{heading}\n\n{shown}", "slide" if top else "subslide")
    else:  # goes on under the heading of an earlier cell
        notes = f"{shown}\n\n{notes}".strip()
    if notes:
        yield markdown(notes, "notes")
    yield from (markdown(box, "subslide") for box in boxes)


def figure(cell: Cell) -> Cell:
    """The drawing of a cell, with what it shows in words, and its caption."""
    about = cell["metadata"].get("mystnb", {})
    alt = escape(about.get("image", {}).get("alt", ""), quote=True)
    caption = plain(about.get("figure", {}).get("caption", ""))
    kind, data = next(
        (kind, joined(output["data"][kind]))
        for output in cell["outputs"]
        for kind in IMAGES
        if kind in output.get("data", {})
    )
    if kind == "image/svg+xml":
        data = base64.b64encode(data.encode()).decode()
    data = "".join(data.split())
    image = f'<img class="drawing" alt="{alt}" src="data:{kind};base64,{data}" />'
    return markdown(f"{image}\n\n{caption}", "subslide")


def slides(notebook: Notebook) -> Iterator[Cell]:
    """The cells of the deck."""
    stated: dict[int, list[str]] = {}
    for claim in claims(notebook):
        line = f"> **{claim.number}** {claim.statement} *({claim.status})*"
        stated.setdefault(claim.cell, []).append(line)
    left_out = False
    for index, cell in enumerate(notebook["cells"]):
        kind = cell["metadata"].get("slideshow", {}).get("slide_type")
        if kind:
            source = plain(cell["source"]) if cell["cell_type"] == "markdown" else None
            yield {**cell, "source": source or cell["source"]}
        elif cell["cell_type"] == "markdown":
            for heading, text in sections(plain(cell["source"])):
                if heading and heading.count("#") <= 2:
                    left_out = bool(LEFT_OUT.search(heading))
                if left_out:
                    continue
                yield from section(heading, text)
        elif is_setup(cell) or left_out:
            continue
        elif index in stated:
            lines = "\n>\n".join(stated[index])
            yield markdown(lines, "subslide")
        elif any(k in o.get("data", {}) for o in cell["outputs"] for k in IMAGES):
            yield figure(cell)


def deck(notebook: Notebook) -> Notebook:
    """A notebook whose every cell has a slide type."""
    cells: list[Cell] = []
    for cell in slides(notebook):
        made = {**cell, "id": f"slide-{len(cells)}"}
        made["source"] = joined(made["source"]).replace("](../_static/", "](_static/")
        cells.append(made)
    metadata = {**notebook["metadata"], "title": title(notebook)}
    return {**notebook, "cells": cells, "metadata": metadata}


def as_node(notebook: Notebook) -> nbformat.NotebookNode:
    """The notebook as nbconvert wants it, every text in one piece."""
    return nbformat.reads(json.dumps(notebook), as_version=4)


def html(notebook: Notebook) -> str:
    """The deck as a page."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        reveal_url_prefix="revealjs",
        reveal_theme="white",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(as_node(deck(notebook)))
    return str(body)


def folder_of(package: str, *parts: str) -> Path:
    """A folder of an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed; requirements.txt names it")
    return Path(spec.origin).parent.joinpath(*parts)


def copy_parts(target: Path) -> None:
    """Put beside the decks what they load: reveal.js, MathJax, pictures, our sheet."""
    reveal = folder_of("sphinx_revealjs", "_static", "revealjs")
    for part in ("dist", "plugin/notes"):
        shutil.copytree(reveal / part, target / "revealjs" / part, dirs_exist_ok=True)
    mathjax = folder_of("sphinx-mathjax-offline", "static", "mathjax")
    for part in ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions"):
        place = target / "mathjax" / part
        if (mathjax / part).is_dir():
            shutil.copytree(mathjax / part, place, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mathjax / part, place)
    shutil.copy(TEMPLATE / "slides.css", target)
    (target / "_static").mkdir(exist_ok=True)
    for picture in (ROOT / "book" / "_static").glob("*.svg"):
        shutil.copy(picture, target / "_static")


def make(paths: list[Path], target: Path = SLIDES) -> None:
    """Write the decks of these chapters."""
    target.mkdir(parents=True, exist_ok=True)
    copy_parts(target)
    for path in paths:
        page = target / f"{path.stem}.html"
        page.write_text(html(read_notebook(path)), encoding="utf-8")
        print(page.relative_to(ROOT) if page.is_relative_to(ROOT) else page)


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.slides",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("chapters", nargs="*", type=Path, metavar="CHAPTER")
    paths = [path.resolve() for path in parser.parse_args(arguments).chapters]
    make(paths or chapters())
    return 0


if __name__ == "__main__":
    sys.exit(main())
