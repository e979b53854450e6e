"""Pages made of the ledgers that are kept as data.

- the directive ``paper-claims``: the paper's claims of one part, with our verdicts;
- the directive ``published-figures``: the paper's tables beside what is recorded;
- the directive ``statements``: the chapters' theorems, their proofs and tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from docutils import nodes
from lpl_pages import ROOT, BookTable, table, with_math
from sphinx import addnodes
from sphinx.application import Sphinx

from lpl_lib.lab.records import lines, records
from lpl_lib.lab.specification import load
from lpl_lib.lab.tables import interval, order, verdict
from lpl_lib.lab.tables import table as frame_of
from tools.bookfiles import chapters, claims, read_notebook, title
from tools.ledgers import (
    PAPER_CLAIMS,
    STATEMENTS,
    PaperClaim,
    Statement,
    boxes_of,
    paper_claims,
    statement_facts,
)

Cell = list[nodes.Node]
SEARCHED = ROOT / "results" / "counterexamples.json"


def line(*inner: nodes.Node, kind: str = "ledger-line") -> nodes.Node:
    """A line of its own within a cell."""
    return nodes.inline("", "", *inner, classes=[kind])


def coloured(status: str) -> nodes.Node:
    """A status in its colour."""
    mark = "status-" + status.replace(" ", "-")
    return nodes.inline("", status, classes=["claim-status", mark])


class Ledger(BookTable):
    """A table that links to the book's claims."""

    def links_to_claims(self, numbers: Iterable[str]) -> Cell:
        """``C1.2, C1.3``, each a link to its cell."""
        labels: dict[str, str] = {}
        for path in chapters(ROOT):
            self.env.note_dependency(str(path))
            labels |= {claim.number: claim.label for claim in claims(read_notebook(path))}
        found: Cell = []
        for number in numbers:
            if found:
                found.append(nodes.Text(", "))
            label = labels.get(number, number)  # what is not there fails the build
            found.append(self.link(label, number, "ref"))
        return found


class PaperClaims(Ledger):
    """The paper's claims of the part that the argument names."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(PAPER_CLAIMS))
        rows = [
            [
                [
                    line(*with_math(entry.says)),
                    line(nodes.Text(entry.place), kind="ledger-place"),
                ],
                [coloured(entry.verdict)],
                self.evidence(entry),
            ]
            for entry in paper_claims()[self.arguments[0]]
        ]
        heads = ("Claim, and where it stands", "Verdict", "Evidence, or why not")
        return [table(heads, rows, [42, 16, 42], "paper-claims")]

    def evidence(self, entry: PaperClaim) -> Cell:
        """Why, the recorded differences, and the claims that say it."""
        cell: Cell = [line(*with_math(entry.why))] if entry.why else []
        cell += [line(nodes.Text(text)) for text in differences(entry)]
        if entry.claims:
            cell.append(line(*self.links_to_claims(entry.claims)))
        return cell


def signed(mean: float, half: float) -> str:
    """``−0.6 ± 0.2``, with a true minus and no minus before nought."""
    rounded = round(mean, 1) + 0.0
    return f"{rounded:+.1f} ± {half:.1f}".replace("-", "−")


def differences(entry: PaperClaim) -> list[str]:
    """The recorded differences of an entry, one line each."""
    found = []
    for name, method, over in entry.measured:
        frame = frame_of(records(name))
        gap, said = order(frame, method, over)
        seeds = frame.loc[frame["method"] == method, "seed"].nunique()
        shown = "no figure" if gap is None else signed(gap.mean, gap.half)
        title = load(name).title
        found.append(f"{title}: {method} over {over}, {shown} ({seeds} seeds; {said}).")
    return found


class PublishedFigures(BookTable):
    """The figures of the paper's tables beside ours on the same set with the same net; in
    a line those that we have not run."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        self.env.note_dependency(str(ROOT / "results" / "published.jsonl"))
        published = lines("published")
        for (data, net), figures in groupby(published, lambda r: (r["data"], r["net"])):
            rows, others = [], []
            for figure in figures:
                name, error = figure["name"], f"{figure['error']:.2f}"
                if ours := self.ours(figure):
                    rows.append([[nodes.Text(text)] for text in (name, error, *ours)])
                else:
                    others.append(f"{name} {error}")
            found.append(nodes.rubric("", f"{data}, {net}"))
            if rows:
                heads = ("Method", "Paper", "Ours", "Verdict")
                found.append(table(heads, rows, [30, 12, 28, 30], "published-figures"))
            if others:
                found.append(nodes.paragraph("", f"Not run: {'; '.join(others)}."))
        return found

    def ours(self, figure: dict[str, Any]) -> tuple[str, str] | None:
        """Our error with its seeds, and the verdict."""
        runs = records(figure["experiment"]) if figure["experiment"] else []
        frame = frame_of(runs)
        ours, said = verdict(figure["error"], frame, figure["method"])
        if ours is None:
            return None
        errors = 100 - frame.loc[frame["method"] == figure["method"], "all"]
        seeds = f"{len(errors)} seed{'s' if len(errors) > 1 else ''}"
        shown = interval([*errors]) if len(errors) > 2 else f"{errors.mean():.1f}"
        return f"{shown} ({seeds})", said


def what_was_searched() -> str:
    """One sentence on the search for counterexamples."""
    recorded = json.loads(SEARCHED.read_text(encoding="utf-8"))
    tried, spared = recorded["statements"], recorded["not searched"]
    draws = sum(entry["draws"] for entry in tried.values())
    refuted = ", ".join(label for label, entry in tried.items() if entry["found"])
    return (
        f"A random search (seed {recorded['seed']}) drew {draws:,} instances of "
        f"{len(tried)} of these {len(tried) + len(spared)} statements and found "
        f"{'counterexamples to ' + refuted if refuted else 'no counterexample'}; the "
        f"other {len(spared)} are definitions."
    )


class Statements(BookTable):
    """The statements that the chapters make in boxes, a table for each chapter."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(STATEMENTS))
        self.env.note_dependency(str(SEARCHED))
        facts = statement_facts()
        found: list[nodes.Node] = [nodes.paragraph("", what_was_searched())]
        for path in chapters(ROOT):
            self.env.note_dependency(str(path))
            notebook = read_notebook(path)
            stated = boxes_of(notebook, path)
            if stated:
                rows = [self.row(one, facts.get(one.label, {})) for one in stated]
                heads = ("Statement", "Status", "Tests, and conditions")
                found.append(nodes.rubric("", title(notebook)))
                found.append(table(heads, rows, [30, 14, 56], "statements"))
        return found

    def row(self, one: Statement, facts: dict[str, Any]) -> list[Cell]:
        """Link, status, tests and condition."""
        reference = addnodes.pending_xref(
            "",
            nodes.inline("", one.title, classes=["std", "std-ref"]),
            refdoc=self.env.docname,
            refdomain="prf",
            reftype="ref",
            reftarget=one.label,
            refexplicit=True,
            refwarn=True,
        )
        cell: Cell = []
        if "condition" in facts:
            cell.append(line(*with_math(facts["condition"])))
        for name in facts.get("tests", ()):
            cell.append(line(nodes.literal("", name), kind="ledger-test"))
        kind = line(nodes.Text(one.kind), kind="ledger-place")
        return [[line(reference), kind], [nodes.Text(one.status)], cell]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it with Sphinx."""
    app.add_directive("paper-claims", PaperClaims)
    app.add_directive("published-figures", PublishedFigures)
    app.add_directive("statements", Statements)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
