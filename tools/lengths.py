"""How long the book is: words of prose and claims, chapter by chapter.

    python -m tools.lengths

Prose is the text of a chapter with its exercises and solutions, without code, formulas,
options of directives, and the targets of links.
"""

from __future__ import annotations

import re

from tools.bookfiles import ROOT, Notebook, chapters, claims, read_notebook

MOST_WORDS = 45_000
MOST_WORDS_A_CHAPTER = 4_500
MOST_CLAIMS = 130
NO_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]+\$"  # code and formulas
    r"|^:[\w-]+:[^\n]*|^\([^\n]*\)=$|^:{3,}\S*"  # options, targets, fences
    r"|\]\([^)]*\)|\{[\w:-]+\}(`[^`]*`)?|</?\w+>",  # links, roles, tags
    re.DOTALL | re.MULTILINE,
)


def words(notebook: Notebook) -> int:
    """The words of its prose.

    >>> cell = {"cell_type": "markdown", "source": "So $a = b$, see {ref}`x`: [it](it.md)."}
    >>> words({"cells": [cell]})
    3
    """
    texts = [c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    return sum(len(re.findall(r"[^\W\d_][\w'’-]*", NO_PROSE.sub(" ", t))) for t in texts)


def lengths() -> dict[str, tuple[int, int]]:
    """(words, claims) of each chapter."""
    notebooks = {path.stem: read_notebook(path) for path in chapters(ROOT)}
    return {name: (words(book), len(claims(book))) for name, book in notebooks.items()}


def main() -> None:
    """Print them."""
    found = lengths()
    for name, (prose, stated) in found.items():
        print(f"{prose:6,} words {stated:3} claims  {name}")
    totals = [sum(column) for column in zip(*found.values(), strict=True)]
    print(f"{totals[0]:6,} words {totals[1]:3} claims  of {MOST_WORDS:,} and {MOST_CLAIMS}")


if __name__ == "__main__":
    main()
