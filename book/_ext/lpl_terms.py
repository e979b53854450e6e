"""Links from a chapter to the glossary: each term of art, where it is first used.

The text stays as it is written, so that a notebook reads the same outside of the book.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

GLOSSARY = "book/back/glossary"
# nothing is linked inside of these
CLOSED = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.raw,
    nodes.emphasis,
    nodes.citation_reference,
)


def pattern(entry: str) -> re.Pattern[str]:
    """What stands for an entry in a text: one of its names, perhaps with a plural s.

    A name with capitals inside, such as an abbreviation, is matched as it is.

    >>> pattern("Base loss").search("two base losses") is None
    True
    >>> pattern("Bound").search("Bounds differ").group()
    'Bounds'
    >>> pattern("ASL").search("hasl, asl") is None
    True
    """
    names = []
    for name in (part.strip() for part in entry.split(",")):
        words = r"\s+".join(re.escape(word) for word in name.split())
        exact = re.search(r"[A-Z]", name[1:]) is not None
        names.append(words if exact else f"(?i:{words})")
    return re.compile(rf"(?<![\w-])(?:{'|'.join(names)})s?(?![\w-])")


class FirstUses(SphinxPostTransform):
    """Make each term's first use in a chapter a link to its entry."""

    default_priority = 500

    def run(self, **kwargs: Any) -> None:
        """Go through the page's text once, longest terms first."""
        if self.env.docname.startswith(("book/back/", "book/index")):
            return
        # a term inside of a longer one is not that term
        for name, place in sorted(self._entries(), key=lambda entry: -len(entry[0])):
            self._link(pattern(name), *place)

    def _entries(self) -> Iterator[tuple[str, tuple[str, str]]]:
        objects = self.env.get_domain("std").get_objects()
        for name, _, kind, docname, label, _ in objects:
            if kind == "term" and docname == GLOSSARY:
                yield name, (docname, label)

    def _link(self, wanted: re.Pattern[str], docname: str, label: str) -> None:
        for paragraph in self.document.findall(nodes.paragraph):
            for text in list(paragraph.findall(nodes.Text)):
                found = wanted.search(text.astext())
                if found and not _is_closed(text):
                    self._wrap(text, found, docname, label)
                    return

    def _wrap(
        self, text: nodes.Text, found: re.Match[str], docname: str, label: str
    ) -> None:
        whole, parent = text.astext(), text.parent
        link = make_refnode(
            self.app.builder, self.env.docname, docname, label, nodes.Text(found[0])
        )
        link["classes"].append("term")
        link["reftitle"] = "in the glossary"
        parts = [nodes.Text(whole[: found.start()]), link, nodes.Text(whole[found.end() :])]
        parent.replace(text, [part for part in parts if part.astext()])


def _is_closed(node: nodes.Node) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, CLOSED):
            return True
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_post_transform(FirstUses)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
