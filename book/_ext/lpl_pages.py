"""What the book adds to Sphinx.

- the directive ``run-status``: size, device, run time, versions of each chapter;
- the directive ``course-budget``: reading time, run time, exercises of each chapter;
- solutions and proofs with ``:class: dropdown`` as native, foldable ``<details>``
  (no script; the dropdown of sphinx-togglebutton fails on proofs);
- links to ``lpl_lib.LPL`` and the like find the module that documents the name;
- version, citation and licences below each page;
- a description of each page for search engines and for links on other sites;
- MathJax from the package sphinx-mathjax-offline: only the files in use.
"""

from __future__ import annotations

import html
import importlib
import importlib.util
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.bookfiles import address, chapters, read_notebook, title  # noqa: E402

LOGGER = logging.getLogger(__name__)
MATHJAX_PARTS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")


def docname(path: Path) -> str:
    """Sphinx's name of a file of the book."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def with_math(text: str) -> list[nodes.Node]:
    """Plain text in which ``$...$`` is a formula."""
    pieces = re.split(r"\$([^$]+)\$", text)
    return [
        nodes.math(piece, piece) if odd % 2 else nodes.Text(piece)
        for odd, piece in enumerate(pieces)
        if piece
    ]


def table(
    heads: Iterable[str],
    rows: Iterable[list[list[nodes.Node]]],
    widths: list[int],
    kind: str,
) -> nodes.table:
    """A table node; each row is a list of cells, each cell a list of inline nodes."""
    head, body = nodes.thead(), nodes.tbody()
    group = nodes.tgroup("", cols=len(widths))
    group.extend(nodes.colspec(colwidth=width) for width in widths)
    group += [head, body]
    titles: list[list[nodes.Node]] = [[nodes.Text(text)] for text in heads]
    for target, lines in ((head, [titles]), (body, list(rows))):
        for cells in lines:
            row = nodes.row()
            for cell in cells:
                row += nodes.entry("", nodes.paragraph("", "", *cell))
            target += row
    return nodes.table("", group, classes=[kind])


class BookTable(SphinxDirective):
    """A table made from all chapters; it has no options and no content."""

    has_content = False

    def link(self, target: str, text: str, kind: str) -> nodes.Node:
        """A link to a chapter (kind "doc") or a claim (kind "ref")."""
        inner = nodes.inline("", text, classes=["std", f"std-{kind}"])
        return addnodes.pending_xref(
            "",
            inner,
            refdoc=self.env.docname,
            refdomain="std",
            reftype=kind,
            reftarget=target,
            refexplicit=True,
            refwarn=True,
        )

    def warn(self, message: str, path: Path) -> None:
        """A warning that names the chapter; it fails the build."""
        LOGGER.warning(message, location=docname(path))


class RunStatus(BookTable):
    """Where the stored outputs of each chapter come from."""

    def run(self) -> list[nodes.Node]:
        rows: list[list[list[nodes.Node]]] = []
        total = 0
        for path in chapters(ROOT):
            self.env.note_dependency(str(path))
            notebook = read_notebook(path)
            stored: dict[str, Any] = notebook["metadata"].get("lpl", {})
            if not stored:
                self.warn("run-status: the chapter was not run by tools.notebooks", path)
                continue
            total += stored["seconds"]
            found = ", ".join(f"{name} {text}" for name, text in stored["versions"].items())
            texts = (stored["size"], stored["device"], f"{stored['seconds']} s", found)
            first = [self.link("/" + docname(path), title(notebook), "doc")]
            rows.append([first, *([nodes.Text(text)] for text in texts)])
        heads = ("Chapter", "Size", "Device", "Run time", "Versions")
        words = f"Running all {len(rows)} chapters took {total} seconds."
        return [
            nodes.paragraph("", words),
            table(heads, rows, [28, 10, 14, 10, 38], "run-status"),
        ]


class CourseBudget(BookTable):
    """What each chapter costs a class: time to read, time to run, exercises."""

    def run(self) -> list[nodes.Node]:
        rows: list[list[list[nodes.Node]]] = []
        for path in chapters(ROOT):
            self.env.note_dependency(str(path))
            notebook = read_notebook(path)
            cells = [c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"]
            words = "\n".join(cells)
            reading = re.search(r"\*Time:\* (?:about )?(.+?) to read", words)
            stored: dict[str, Any] = notebook["metadata"].get("lpl", {})
            if reading is None or not stored:
                self.warn("course-budget: no time to read, or no time to run", path)
                continue
            exercises = len(re.findall(r"^:::+\{exercise(?:-start)?\}", words, re.M))
            texts = (reading[1], f"{stored['seconds']} s", str(exercises))
            first = [self.link("/" + docname(path), title(notebook), "doc")]
            rows.append([first, *([nodes.Text(text)] for text in texts)])
        heads = ("Chapter", "To read", "To run", "Exercises")
        return [table(heads, rows, [46, 26, 14, 14], "course-budget")]


class folded(nodes.General, nodes.Element):  # noqa: N801 (node names are lower case)
    """A box that is closed until the reader opens it."""


class folded_title(nodes.General, nodes.TextElement):  # noqa: N801
    """What is seen of a closed box."""


def visit_folded(self: Any, node: nodes.Element) -> None:
    """Open the box in HTML."""
    self.body.append(self.starttag(node, "details", CLASS="admonition folded"))


def depart_folded(self: Any, node: nodes.Element) -> None:
    """Close it."""
    self.body.append("</details>\n")


def visit_folded_title(self: Any, node: nodes.Element) -> None:
    """Open the title in HTML."""
    self.body.append(self.starttag(node, "summary", "", CLASS="admonition-title"))


def depart_folded_title(self: Any, node: nodes.Element) -> None:
    """Close it."""
    self.body.append("</summary>\n")


class FoldDropdowns(SphinxPostTransform):
    """Turn boxes of class ``dropdown`` into native foldable boxes.

    It also takes away the ids that sphinx-proof and sphinx-exercise give to
    several elements of one page.
    """

    default_priority = 800  # after the titles of solutions are resolved
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for section in list(self.document.findall(nodes.section)):
            if section["ids"] and section["ids"][0] in (
                "proof-content",
                "exercise-content",
                "solution-content",
            ):
                section["ids"] = []
        for box in list(self.document.findall(nodes.Admonition)):
            if not isinstance(box, nodes.Element):
                continue
            if box["ids"] == ["proof"]:
                box["ids"] = []
            if "dropdown" in box["classes"]:
                self.fold(box)

    def fold(self, box: nodes.Element) -> None:
        """Replace one box."""
        children = list(box.children)
        if children and isinstance(children[0], nodes.title):
            # a link inside a button confuses keyboards and screen readers: its text only
            words = [nodes.Text(children.pop(0).astext())]
        else:  # a proof begins with a paragraph that begins with "Proof. "
            words = [nodes.Text("Proof")]
            first = next(box.findall(nodes.Text))
            rest = nodes.Text(re.sub(r"^Proof\.\s*", "", first.astext()))
            first.parent.replace(first, rest)
        kinds = [name for name in box["classes"] if name != "dropdown"]
        kinds = list(dict.fromkeys([*kinds, box.tagname.removesuffix("_node")]))
        new = folded("", ids=box["ids"], classes=kinds)
        new += folded_title("", "", *words)
        new += nodes.container("", *children, classes=["folded-content"])
        box.parent.replace(box, new)


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, inner: nodes.Element
) -> nodes.Element | None:
    """Resolve ``lpl_lib.LPL`` to the module that defines it, where it is documented."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("lpl_lib."):
        return None
    found: Any = importlib.import_module("lpl_lib")
    for name in target.split(".")[1:]:
        found = getattr(found, name, None)
    full = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    domain = env.domains["py"]
    if full == target or full not in domain.objects:  # type: ignore[attr-defined]
        return None
    entry = domain.objects[full]  # type: ignore[attr-defined]
    place = node.get("refdoc", env.docname)
    return make_refnode(app.builder, place, entry.docname, entry.node_id, inner, full)


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Describe the page by its first words, passing over the badge that opens Colab."""
    if doctree is None:
        return
    found = doctree.findall(nodes.paragraph)
    words = [node.astext() for node in found if not any(node.findall(nodes.image))]
    if not words:
        return
    text = html.escape(textwrap.shorten(words[0], 200, placeholder=" …"))
    context["meta"] = (context.get("meta") or {}) | {"og:description": text}
    context["metatags"] += f'<meta name="description" content="{text}" />\n'


def add_foot(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Say below each page which version it is, how to cite it, where to get the PDF."""
    front = "" if page == "book/index" else context["pathto"]("book/index")
    context["theme_extra_footer"] = (
        f"Version {address(ROOT).version} · "
        f'<a href="{front}#how-to-cite">How to cite</a> · '
        f'<a href="{address(ROOT).pages}lpl-book.pdf">The book as PDF</a> · '
        "Code: MIT licence. Text and figures: CC BY 4.0."
    )


def break_names(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let a long name in the text break after a sign rather than within a word."""
    context["body"] = re.sub(
        r'<span class="pre">[^<]*',
        lambda name: re.sub(r"(?<=[_.(,=/])(?=\w)", "<wbr>", name[0]),
        context.get("body", ""),
    )


def mathjax_folder() -> Path:
    """MathJax as the package sphinx-mathjax-offline brings it."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("sphinx-mathjax-offline is not installed")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy the parts of MathJax that the pages use."""
    if error is not None:
        return
    source = mathjax_folder()
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        place = target / part
        if (source / part).is_dir():
            shutil.copytree(source / part, place, dirs_exist_ok=True)
        else:
            os.makedirs(place.parent, exist_ok=True)
            shutil.copy(source / part, place)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it with Sphinx."""
    app.add_directive("run-status", RunStatus)
    app.add_directive("course-budget", CourseBudget)
    app.add_node(folded, html=(visit_folded, depart_folded))
    app.add_node(folded_title, html=(visit_folded_title, depart_folded_title))
    app.add_post_transform(FoldDropdowns)
    app.connect("missing-reference", find_public_name)
    app.connect("html-page-context", describe, priority=400)  # before sphinxext.opengraph
    app.connect("html-page-context", add_foot)
    app.connect("html-page-context", break_names)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
