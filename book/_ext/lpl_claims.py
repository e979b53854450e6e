"""The book's claims on its pages.

- the directive ``chapter-claims``: the claims of this chapter, in full;
- the directive ``claims-ledger``: those of all chapters, which ``book.js`` filters;
- at the cell that checks a claim, one line in place of what the cell printed of it.

``{ref}`C1.2 <claim-c1-2>` `` links to the claim in its chapter's list.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from lpl_pages import ROOT, BookTable, table, with_math
from sphinx.application import Sphinx

from tools.bookfiles import Claim, chapters, claims, read_notebook

HEADS = ("Claim", "Statement", "Status and evidence", "Source")


def check_id(claim: Claim) -> str:
    """Name of the cell that checks it."""
    return claim.label.replace("claim-", "check-", 1)


def standing(claim: Claim) -> list[nodes.Node]:
    """Its status in its colour, and the grade of its evidence."""
    mark = "status-" + claim.status.replace(" ", "-")
    return [
        nodes.inline("", claim.status, classes=["claim-status", mark]),
        nodes.Text(" · "),
        nodes.inline("", claim.grade, classes=["claim-grade"]),
    ]


class ClaimTable(BookTable):
    """A table of claims that the stored outputs show to hold."""

    def claims_of(self, path: Path) -> list[Claim]:
        """The claims of a chapter; one that does not hold fails the build."""
        self.env.note_dependency(str(path))
        found = claims(read_notebook(path))
        for claim in found:
            if not claim.holds:
                self.warn(f"{self.name}: {claim.number} is not shown to hold", path)
        return found


class ClaimsLedger(ClaimTable):
    """All claims, in reading order."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [
                [self.link(claim.label, claim.number, "ref")],
                with_math(claim.statement),
                standing(claim),
                with_math(claim.source),
            ]
            for path in chapters(ROOT)
            for claim in self.claims_of(path)
        ]
        return [table(HEADS, rows, [8, 52, 22, 18], "claims-ledger")]


class ChapterClaims(ClaimTable):
    """The claims of the chapter in which the directive stands; links lead here."""

    def run(self) -> list[nodes.Node]:
        found = self.claims_of(ROOT / f"{self.env.docname}.ipynb")
        rows: list[list[list[nodes.Node]]] = [
            [
                [nodes.reference("", claim.number, refid=check_id(claim))],
                with_math(claim.statement),
                standing(claim),
            ]
            for claim in found
        ]
        listed = table(HEADS[:3], rows, [10, 62, 28], "chapter-claims")
        standard = self.env.domaindata["std"]
        for claim, row in zip(found, list(listed.findall(nodes.row))[1:], strict=True):
            row["ids"].append(claim.label)
            place = (self.env.docname, claim.label)
            standard["anonlabels"][claim.label] = place
            standard["labels"][claim.label] = (*place, f"claim {claim.number}")
        return [listed]


def shorten_claims(app: Sphinx, document: nodes.document) -> None:
    """Put one line each in place of what a chapter's cells printed of their claims."""
    path = ROOT / f"{app.env.docname}.ipynb"
    if not path.is_file():
        return
    found = claims(read_notebook(path))
    for cell in list(document.findall(nodes.container)):
        if cell.get("nb_element") == "cell_code":
            stated = [claim for claim in found if claim.cell == cell["cell_index"]]
            cell["ids"] += [check_id(claim) for claim in stated]
            for block in list(cell.findall(nodes.literal_block)):
                if block.parent.get("nb_element") != "cell_code_source":
                    shorten(block, stated)


def shorten(block: nodes.literal_block, stated: list[Claim]) -> None:
    """Do so in what one cell printed."""
    text, lines = block.astext(), []
    for claim in stated:
        printed = rf"^{re.escape(claim.number)} holds:.*?\n {{5}}\[{claim.status};.*?\]$\n?"
        text, times = re.subn(printed, "", text, flags=re.DOTALL | re.MULTILINE)
        if times:
            number = nodes.reference("", claim.number, refid=claim.label)
            rest = [nodes.Text(" holds · "), *standing(claim)]
            lines.append(nodes.paragraph("", "", number, *rest, classes=["claim-line"]))
    if lines:
        kept = [nodes.literal_block(text, text, **block.attributes)] if text.strip() else []
        block.parent.replace(block, [*kept, *lines])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it with Sphinx."""
    app.add_directive("claims-ledger", ClaimsLedger)
    app.add_directive("chapter-claims", ChapterClaims)
    app.connect("doctree-read", shorten_claims)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
