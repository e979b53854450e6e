"""The student's edition has no solution, the lecturer's has all of them open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import editions
from tools.bookfiles import ROOT, Notebook, chapters, code_cells, read_notebook

EXERCISE = re.compile(r"^:{3,}\{exercise(?:-start)?\}", re.MULTILINE)
SOLUTION = re.compile(r"\{solution(?:-start|-end)?\}")
FOLDED = re.compile(r"\{solution(?:-start)?\}[^\n]*\n:class: dropdown")


def prose(notebook: Notebook) -> str:
    return "\n\n".join(
        c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"
    )


def cell(kind: str, source: str) -> dict:
    return {"cell_type": kind, "id": source[:8], "metadata": {}, "source": source}


SMALL = {
    "cells": [
        cell("markdown", "## Exercises\n\n:::{exercise}\n:label: a\nWhy?\n:::"),
        cell("code", "def stub():\n    ..."),
        cell("markdown", ":::{solution-start} a\n:class: dropdown\n:::\n\nBecause."),
        cell("code", "answer = 42"),
        cell(
            "markdown",
            "Also.\n\n:::{solution-end}\n:::\n\n:::{exercise}\n:label: b\nHow?\n:::\n\n"
            "::::{solution} b\n:class: dropdown\n:::{note}\nSo.\n:::\n::::\n\nThe end.",
        ),
    ]
}


def test_a_student_reads_exercises_and_stubs_and_no_answer() -> None:
    made = editions.without_solutions(SMALL)
    assert [c["source"] for c in made["cells"]] == [
        SMALL["cells"][0]["source"],
        "def stub():\n    ...",
        ":::{exercise}\n:label: b\nHow?\n:::\n\nThe end.",
    ]


def test_a_lecturer_reads_everything_open() -> None:
    made = editions.with_open_solutions(SMALL)
    assert ":class: dropdown" not in prose(made)
    assert prose(made).count(":::") == prose(SMALL).count(":::")
    assert [c["source"] for c in made["cells"][1::2]] == [
        "def stub():\n    ...",
        "answer = 42",
    ]


def test_a_solution_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="solution-end"):
        editions.without_solutions({"cells": SMALL["cells"][:3]})


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_editions_of_a_chapter(path: Path) -> None:
    """Only solutions go; exercises and what comes before them stay to the letter."""
    whole = read_notebook(path)
    student, lecturer = (editions.CHANGES[name](whole) for name in editions.EDITIONS)
    assert not SOLUTION.search(prose(student))
    assert len(EXERCISE.findall(prose(student))) == len(EXERCISE.findall(prose(whole))) > 0
    assert "## Further reading" in prose(student)
    first = next(k for k, c in enumerate(whole["cells"]) if SOLUTION.search(c["source"]))
    assert student["cells"][:first] == whole["cells"][:first]
    assert len(SOLUTION.findall(prose(lecturer))) == len(SOLUTION.findall(prose(whole)))
    assert not FOLDED.search(prose(lecturer))
    assert code_cells(lecturer) == code_cells(whole)


def test_an_edition_is_a_tree_of_its_own(tmp_path: Path) -> None:
    editions.make("student", tmp_path / "student")
    made = tmp_path / "student"
    assert chapters(made) == [made / path.relative_to(ROOT) for path in chapters()]
    assert (made / "Makefile").read_bytes() == (ROOT / "Makefile").read_bytes()
    assert not (made / "_build").exists()
    assert not SOLUTION.search(prose(read_notebook(chapters(made)[0])))
