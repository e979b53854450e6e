"""The book's ledgers kept as data: the paper's claims, and the statements it proves.

What the two files in ``book/back`` say is checked here against the chapters and the
tests; ``book/_ext/lpl_ledgers.py`` makes pages of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tools.bookfiles import ROOT, STATUSES, Notebook, chapters, read_notebook, read_yaml

PAPER_CLAIMS = ROOT / "book" / "back" / "paper_claims.yml"
STATEMENTS = ROOT / "book" / "back" / "statements.yml"
FACTS = ("tests", "condition")
NOT_TESTED = "not tested"
VERDICTS = (*STATUSES, NOT_TESTED)


@dataclass(frozen=True)
class PaperClaim:
    """A claim of the paper, our verdict, and what it rests on."""

    says: str
    place: str
    verdict: str
    claims: tuple[str, ...] = ()
    measured: tuple[tuple[str, str, str], ...] = ()
    why: str = ""


def read_list(path: Path) -> list[dict[str, Any]]:
    """The list that a YAML file holds."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, list):
        raise ValueError(f"{path}: a list was expected")
    return data


def paper_claims(path: Path = PAPER_CLAIMS) -> dict[str, list[PaperClaim]]:
    """The paper's claims by part of the paper, in its order.

    An entry with a key that :class:`PaperClaim` lacks, or without one that it needs,
    is a TypeError.
    """
    found = {}
    for part in read_list(path):
        entries = []
        for entry in part["entries"]:
            runs = tuple(tuple(run) for run in entry.pop("measured", ()))
            numbers = tuple(entry.pop("claims", ()))
            entries.append(PaperClaim(claims=numbers, measured=runs, **entry))
        found[part["title"]] = entries
    return found


def paper_complaints(entries: Sequence[PaperClaim], known: Sequence[str]) -> list[str]:
    """What is wrong with entries; `known` are the numbers of the book's claims."""
    found = []
    for entry in entries:
        faults = [f"there is no claim {n}" for n in entry.claims if n not in known]
        if entry.verdict not in VERDICTS:
            faults.append(f"unknown verdict {entry.verdict!r}")
        if not entry.place:
            faults.append("it has no place in the paper")
        if entry.verdict == NOT_TESTED and not entry.why:
            faults.append("it is not tested and does not say why")
        if entry.verdict != NOT_TESTED and not (entry.claims or entry.measured):
            faults.append("its verdict rests on nothing")
        found += [f"{entry.says}: {fault}" for fault in faults]
    return found


def verdict_of(outcomes: Sequence[str]) -> str:
    """Verdict on "A is above B" by what each recorded comparison says.

    >>> verdict_of(["agrees", "agrees"]), verdict_of(["agrees", "cannot be told"])
    ('reproduced', 'partly reproduced')
    >>> verdict_of(["contradicts", "cannot be told"])
    'not reproduced'
    """
    if "not recorded" in outcomes:
        return NOT_TESTED
    agreeing = [outcome == "agrees" for outcome in outcomes]
    if all(agreeing):
        return "reproduced"
    return "partly reproduced" if any(agreeing) else "not reproduced"


# a box of sphinx-proof: kind, title, and its text up to the fence that closes it
BOX = re.compile(
    r"^(?P<fence>[:`]{3,})\{prf:(?P<kind>\w+)\} *(?P<title>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """A theorem, proposition, corollary, lemma or definition of a chapter."""

    label: str
    kind: str
    title: str
    path: Path
    proved: bool

    @property
    def status(self) -> str:
        """Whether it is proved in the text; a definition needs no proof."""
        if self.kind == "definition":
            return "definition"
        return "proof in the text" if self.proved else "numerical"


def statements(root: Path = ROOT) -> list[Statement]:
    """All statements in boxes, in reading order."""
    return [
        found for path in chapters(root) for found in boxes_of(read_notebook(path), path)
    ]


def boxes_of(notebook: Notebook, path: Path) -> list[Statement]:
    """The statements of one chapter; a proof belongs to the statement before it.

    A statement without a label is a ValueError: nothing could refer to it.
    """
    found: list[Statement] = []
    for box in _boxes(notebook):
        if box["kind"] == "proof":
            if found:
                found[-1] = replace(found[-1], proved=True)
            continue
        label = re.search(r"^:label: *(\S+)", box["body"], re.MULTILINE)
        if label is None:
            raise ValueError(f"{path.name}: {box['kind']} {box['title']!r} has no label")
        title = box["title"].strip()
        found.append(Statement(label[1], box["kind"], title, path, proved=False))
    return found


def _boxes(notebook: Notebook) -> Iterator[re.Match[str]]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield from BOX.finditer(cell["source"])


def statement_facts(path: Path = STATEMENTS) -> dict[str, dict[str, Any]]:
    """By label: the tests of a statement, and the condition that the paper leaves out."""
    return read_yaml(path)


def names_of_tests(folder: Path = ROOT / "tests") -> set[str]:
    """All tests as ``module::function``."""
    return {
        f"{path.stem}::{node.name}"
        for path in folder.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def statement_complaints(
    stated: Sequence[Statement], facts: Mapping[str, Mapping[str, Any]], tests: set[str]
) -> list[str]:
    """What is wrong between the chapters' statements and what is said of them."""
    labels = [statement.label for statement in stated]
    found = [
        f"{label} is stated, but nothing is said of it"
        for label in labels
        if label not in facts
    ]
    found += [f"{label} is in no chapter" for label in facts if label not in labels]
    found += [
        f"{label} is stated twice" for label in set(labels) if labels.count(label) > 1
    ]
    for label, entry in facts.items():
        found += [f"{label}: unknown key {k!r}" for k in entry if k not in FACTS]
        found += [
            f"{label}: there is no test {t}"
            for t in entry.get("tests", ())
            if t not in tests
        ]
        if not entry.get("tests"):
            found.append(f"{label} has no test")
    return found
