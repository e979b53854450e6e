"""Figures in prose come from a cell, a citation or a formula beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.bookfiles import Notebook, chapters, read_notebook
from tools.prose_figures import unsupported


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_quotes_no_figure_that_nothing_shows(path: Path) -> None:
    assert unsupported(read_notebook(path)) == []


def notebook(*prose: str, source: str = "print(x)", shown: str = "") -> Notebook:
    """A chapter of paragraphs and one code cell that printed something."""
    output = {"output_type": "stream", "name": "stdout", "text": shown}
    code = {"cell_type": "code", "source": source, "outputs": [output], "metadata": {}}
    texts = [{"cell_type": "markdown", "source": text, "metadata": {}} for text in prose]
    return {"cells": [code, *texts], "metadata": {}}


@pytest.mark.parametrize(
    "text",
    [
        "LPL gains 2.4 points.",
        "It gains 37 % in the tail.",
        "It gains 37% in the tail.",
        "The gain is $2.4$ points, or $-2.4 \\pm 0.3$.",
        "| method | gain |\n|---|---|\n| LPL | 2.4 |",
        "- a list\n- with 2.4",
        ":::{admonition} In short\nA gain of 2.4.\n:::",
        "A citation helps its own paragraph {cite:p}`x`.\n\nNot this 2.4.",
        ":::{solution} a\nMade up: 9.9.\n:::\n\nA gain of 2.4.",
    ],
)
def test_a_figure_that_nothing_shows_is_found(text: str) -> None:
    (complaint, *_) = unsupported(notebook(text, shown="LPL 12.4 24 2.41 3.7\n"))
    assert complaint.startswith("cell 1: ")


@pytest.mark.parametrize(
    "text",
    [
        "LPL gains 2.4 points, **37 %** of it in the tail.",
        "The batch has $0.99^{128} = 0.276$ of them absent.",
        "A 95 % interval and 95% confidence intervals.",
        "They report 43.0 {cite:p}`li2022classlevel`.",
        "Their log says 43.0. <!-- quoted: the log in their repository -->",
        "Use torch 2.11.0, and `lr=0.33`; see [here](x-0.71.html).",
        ":::{exercise}\n:label: a\n\nTake a prior of 0.77.\n\nThen 0.78.\n:::",
        "```python\nx = 0.77\n\ny = 0.78\n```",
        "We set the decay to 0.125.",
    ],
)
def test_printed_quoted_and_derived_figures_pass(text: str) -> None:
    shown = notebook(text, source="decay = 0.125", shown="gain 2.4 (37% in the tail)")
    assert unsupported(shown) == []


def test_a_solution_in_several_cells_is_no_prose() -> None:
    parts = (":::{solution-start} a\n:::", "Made up: 0.77.", ":::{solution-end}\n:::")
    assert unsupported(notebook(*parts)) == []
    assert len(unsupported(notebook(*parts, "And 0.77."))) == 1
