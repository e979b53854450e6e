"""The claims ledger as a whole: each claim has its checked cell and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.bookfiles import ROOT, chapters, claims, read_notebook, tags
from tools.provenance import Behind, behind, complaints

# --- the book -------------------------------------------------------------------


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_no_status_promises_runs_that_are_not_there(path: Path) -> None:
    assert complaints(read_notebook(path), ROOT / "results") == []


def unchecked(notebook: dict) -> list[str]:
    """Claims whose cell nbval does not compare, or whose output does not show them."""
    return [
        claim.number
        for claim in claims(notebook)
        if "nbval-check-output" not in tags(notebook["cells"][claim.cell])
        or not claim.holds
    ]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_every_claim_has_a_checked_cell(path: Path) -> None:
    assert unchecked(read_notebook(path)) == []


def test_the_ledger_lists_at_least_sixty_claims() -> None:
    assert sum(len(claims(read_notebook(path))) for path in chapters()) >= 60


# --- chapters that are broken on purpose ----------------------------------------

CLAIM = """\
claim("C6.1", "A beats B.", gain > 0, status="{status}", source="{source}")
"""


def chapter(*cells: str, status: str = "reproduced", source: str = "slides 17-18") -> dict:
    """A notebook of code cells, the last of which states a claim."""
    stated = CLAIM.format(status=status, source=source)
    return {
        "cells": [
            {"cell_type": "code", "source": text, "metadata": {}, "outputs": []}
            for text in (*cells, stated)
        ]
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with one ledger that holds a run, and an empty one."""
    (tmp_path / "digits-lt50.jsonl").write_text('{"key": "a"}\n')
    (tmp_path / "canvases.jsonl").write_text("")
    return tmp_path


RECORDED = 'from lpl_lib.lab.run.evidence import records\nruns = records("digits-lt50")'
EMPTY = RECORDED.replace("digits-lt50", "canvases")
TRAINED = "net = Net()\n_ = lpl_lib.fit(net, criterion, train)"
FROM_RUNS = "gain = difference(runs)"
FROM_NET = "gain = accuracy(net)"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (chapter(RECORDED, FROM_RUNS), None),
        (chapter(TRAINED, FROM_NET, source="slide 19; digits"), None),
        (chapter("gain = 1", status="proved", source="Eq. 7"), None),
        (chapter("gain = 1"), "no run is behind it"),
        (chapter("gain = 1", status="partly reproduced"), "no run is behind it"),
        (chapter("gain = 1", source="slide 19; digits"), "no run is behind it"),
        # there are records and a trained net in the chapter, but the claim rests on neither
        (
            chapter(RECORDED, FROM_RUNS, TRAINED, FROM_NET, "gain = 1"),
            "no run is behind it",
        ),
        (chapter(TRAINED, FROM_NET), "rests on none"),
        (chapter(EMPTY, FROM_RUNS), "holds no run"),
        (
            chapter(
                TRAINED, FROM_NET, status="verified numerically", source="recorded runs"
            ),
            "rests on none",
        ),
    ],
)
def test_runs_are_asked_for(made: dict, complaint: str | None, results: Path) -> None:
    found = complaints(made, results)
    if complaint is None:
        assert found == []
    else:
        assert len(found) == 1
        assert complaint in found[0]


@pytest.mark.parametrize(
    ("cells", "records", "training"),
    [
        (["def gap(x):\n    return records(x)", "gain = gap('digits-lt50')"], True, False),
        (["runs = []", "runs.append(records('a'))", "gain = len(runs)"], True, False),
        (["runs = {}", "runs['a'] = records('a')", "gain = len(runs)"], True, False),
        (["for a in names:\n    runs = lines(a)", "gain = len(runs)"], True, False),
        (["text = open('results/fusing.jsonl').read()", "gain = len(text)"], True, False),
        (["net = Net()", "def f():\n    fit(net)", "f()", "gain = f()"], False, True),
        # names of functions and comprehensions are their own
        (["a = records('a')", "gain = sum(a for a in range(3))"], False, False),
        (["a = records('a')", "def f(a):\n    return a", "gain = f(1)"], False, False),
        # what a name held before it was bound anew does not matter
        (["gain = records('a')", "gain = 1"], False, False),
        (
            ["import torch", "x = torch.fit(torch.ones(3))", "gain = torch.ones(3)"],
            False,
            False,
        ),
    ],
)
def test_names_are_followed(cells: list[str], records: bool, training: bool) -> None:
    notebook = chapter(*cells)
    (claim,) = claims(notebook)
    assert behind(notebook, claim) == Behind(records, training)


def printed(text: str, *marks: str) -> dict:
    notebook = chapter("gain = 1")
    cell = notebook["cells"][-1]
    cell["metadata"]["tags"] = list(marks)
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
    return notebook


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda: printed("C6.1 holds: A beats B.\n", "nbval-check-output"), []),
        (lambda: printed("C6.1 holds: A beats B.\n"), ["C6.1"]),
        (lambda: printed("", "nbval-check-output"), ["C6.1"]),
        (lambda: printed("C6.1 holds: B beats A.\n", "nbval-check-output"), ["C6.1"]),
    ],
)
def test_a_claim_without_a_checked_cell_is_found(
    made: Callable[[], dict], wanted: list[str]
) -> None:
    assert unchecked(made()) == wanted
