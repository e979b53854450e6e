"""The ledgers that are kept as data, against the chapters, the records and the tests."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lpl_lib.lab.records import records
from lpl_lib.lab.tables import order, table
from tools.bookfiles import ROOT, chapters, claims, read_notebook
from tools.ledgers import (
    PaperClaim,
    Statement,
    boxes_of,
    names_of_tests,
    paper_claims,
    paper_complaints,
    statement_complaints,
    statement_facts,
    statements,
    verdict_of,
)

BACK = ROOT / "book" / "back"
CLAIMS = [claim for path in chapters() for claim in claims(read_notebook(path))]
NUMBERS = [claim.number for claim in CLAIMS]
PAPER = [entry for part in paper_claims().values() for entry in part]


# --- the paper's claims ---------------------------------------------------------


def test_every_entry_has_a_verdict_and_what_it_rests_on() -> None:
    assert paper_complaints(PAPER, NUMBERS) == []


def test_the_page_shows_every_part_of_the_paper() -> None:
    page = (BACK / "paper-claims.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\{paper-claims\} (.+)$", page, re.MULTILINE)
    assert shown == list(paper_claims())


@pytest.mark.parametrize("equation", range(1, 16))
def test_every_equation_of_the_paper_is_judged(equation: int) -> None:
    spans = [
        (int(first), int(last or first))
        for entry in PAPER
        for first, last in re.findall(r"Eq\. (\d+)(?:-(\d+))?", entry.place)
    ]
    assert any(first <= equation <= last for first, last in spans)


@pytest.mark.parametrize(
    "place", ["abstract", "conjecture 1", "conjecture 2", "slides 15-16"]
)
def test_every_part_of_the_paper_is_judged(place: str) -> None:
    assert any(place in entry.place for entry in PAPER)


def test_no_claim_of_the_paper_stands_twice() -> None:
    said = [entry.says for entry in PAPER]
    assert len(set(said)) == len(said)


@functools.cache
def measured(name: str) -> pd.DataFrame:
    return table(records(name))


@pytest.mark.parametrize(
    "entry", [entry for entry in PAPER if entry.measured], ids=lambda entry: entry.says[:40]
)
def test_verdict_is_what_the_records_say(entry: PaperClaim) -> None:
    said = [order(measured(name), method, over)[1] for name, method, over in entry.measured]
    assert entry.verdict == verdict_of(said)


def test_a_comparison_without_records_gives_no_verdict() -> None:
    assert verdict_of(["agrees", "not recorded"]) == "not tested"


GOOD = PaperClaim("It is so.", "Eq. 1", "proved", claims=("C1.1",))


def test_a_good_entry_passes() -> None:
    assert paper_complaints([GOOD], ["C1.1"]) == []
    untested = replace(GOOD, verdict="not tested", claims=(), why="It needs a month.")
    assert paper_complaints([untested], ["C1.1"]) == []


@pytest.mark.parametrize(
    ("breakage", "complaint"),
    [
        ({"claims": ("C1.1", "C99.1")}, "there is no claim C99.1"),
        ({"verdict": "true"}, "unknown verdict 'true'"),
        ({"place": ""}, "no place"),
        ({"verdict": "not tested"}, "does not say why"),
        ({"claims": ()}, "rests on nothing"),
    ],
)
def test_a_broken_entry_is_found(breakage: dict[str, object], complaint: str) -> None:
    found = paper_complaints([replace(GOOD, **breakage)], ["C1.1"])
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "part: 1",
        "- title: A\n  entries: [{says: a, place: b}]",
        "- title: A\n  entries: [{x: 1}]",
    ],
)
def test_a_file_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yml"
    path.write_text(text)
    with pytest.raises((TypeError, ValueError)):
        paper_claims(path)


# --- statements and their tests -------------------------------------------------


def test_every_statement_has_its_tests() -> None:
    assert statement_complaints(statements(), statement_facts(), names_of_tests()) == []


def test_statements_of_the_book_are_found() -> None:
    found = {statement.label: statement for statement in statements()}
    assert len(found) >= 40
    assert found["thm-sign"].title == "The sign of the loss variation"
    assert found["thm-sign"].status == "proof in the text"
    assert found["def-12-setting"].status == "definition"


BOXES = """\
:::{prf:theorem} One
:label: thm-one

One.
:::

```{prf:proof}
Clear.
```

::::{prf:lemma} Two
:label: lem-two
:::{note}
Two.
:::
::::
"""


def test_boxes_and_their_proofs_are_read() -> None:
    cells = [
        {"cell_type": "markdown", "source": BOXES},
        {"cell_type": "code", "source": BOXES},
    ]
    one, two = boxes_of({"cells": cells}, Path("x.ipynb"))
    assert (one.label, one.kind, one.title) == ("thm-one", "theorem", "One")
    assert (two.label, two.kind, two.title) == ("lem-two", "lemma", "Two")
    assert (one.status, two.status) == ("proof in the text", "numerical")


def test_a_statement_without_a_label_is_refused() -> None:
    cells = [{"cell_type": "markdown", "source": ":::{prf:lemma} Two\nTwo.\n:::"}]
    with pytest.raises(ValueError, match="lemma 'Two' has no label"):
        boxes_of({"cells": cells}, Path("x.ipynb"))


STATED = [Statement("thm-one", "theorem", "One", Path("x.ipynb"), proved=True)]
FACTS = {"thm-one": {"tests": ["test_a::test_one"], "condition": "If so."}}


@pytest.mark.parametrize(
    ("stated", "facts", "complaint"),
    [
        (STATED, {}, "nothing is said of it"),
        ([], FACTS, "is in no chapter"),
        (STATED * 2, FACTS, "is stated twice"),
        (STATED, {"thm-one": {"tests": ["test_a::test_two"]}}, "no test test_a::test_two"),
        (STATED, {"thm-one": {"tests": []}}, "has no test"),
        (STATED, {"thm-one": FACTS["thm-one"] | {"note": ""}}, "unknown key 'note'"),
    ],
)
def test_a_broken_list_of_statements_is_found(
    stated: list[Statement], facts: dict[str, dict[str, object]], complaint: str
) -> None:
    tests = {"test_a::test_one"}
    assert statement_complaints(STATED, FACTS, tests) == []
    found = statement_complaints(stated, facts, tests)
    assert len(found) == 1
    assert complaint in found[0]
