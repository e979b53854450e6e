"""Figures in a chapter's prose: each must be printed by a cell, quoted, or derived there.

A *figure* is a decimal number or a percentage outside formulas. It counts as printed if
the very same digits stand in a stored text output or in a code cell of the chapter. A
figure from elsewhere is marked in its paragraph, by a citation or by a comment that the
page does not show: ``<!-- quoted: the issue tracker of ... -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.bookfiles import Notebook, code_cells, joined

FIGURE = re.compile(
    r"(?<![\w.\-/])(\d+\.\d+)(?![\w.]*\w)|(?<![\w.])(\d+(?:\.\d+)?)(?=\s?\\?%)"
)
QUOTED = re.compile(r"\{cite(?::\w+)?\}|<!-- quoted: \S.*?-->", re.DOTALL)
# exercises, whose settings are made up, and blocks of code
BOX = re.compile(
    r"^(?P<fence>[:`]{3,})(?:\{(?:exercise|solution|code-block)\}|\w+$).*?^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
# not prose: code, addresses, and formulas that say how their numbers come about; a
# formula that only sets a figure, such as "$-0.6 \pm 0.2$", counts as one
BESIDE = re.compile(
    r"`[^`\n]*`|\]\([^)]*\)|https?://\S+"
    r"|(?P<d>\${1,2})(?!(?:[\d.,\s+-]|\\pm|\\%|\\,)*(?P=d))[^$]*(?P=d)"
)
LEVEL = re.compile(r"95 ?%(?=[\s-]+(?:confidence|interval))|(?<=intervals at )95 ?%")
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
TEXTS = ("text/plain", "text/html", "text/markdown")


def unsupported(notebook: Notebook) -> list[str]:
    """Figures in prose that no cell prints and no mark explains, with some words around.

    The level of an interval, "95 %", is a convention and needs nothing.
    """
    printed = set(NUMBER.findall("\n".join(_shown(notebook))))
    found = []
    for index, paragraph in _paragraphs(notebook):
        if QUOTED.search(paragraph):
            continue
        plain = LEVEL.sub(" ", BESIDE.sub(" ", paragraph))
        for match in FIGURE.finditer(plain):
            figure = match[1] or match[2]
            if figure not in printed:
                around = plain[max(0, match.start() - 40) : match.end() + 20]
                found.append(f"cell {index}: {figure} in “{' '.join(around.split())}”")
    return found


def _paragraphs(notebook: Notebook) -> Iterator[tuple[int, str]]:
    """Cell and text of each paragraph of prose."""
    solved = False  # a solution may span several cells
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n", BOX.sub("", cell["source"])):
            solved = solved or "{solution-start}" in paragraph
            if not solved:
                yield index, paragraph
            solved = solved and "{solution-end}" not in paragraph


def _shown(notebook: Notebook) -> Iterator[str]:
    """Sources of the code cells, and all that they show as text."""
    for _, cell in code_cells(notebook):
        yield cell["source"]
        for output in cell.get("outputs", []):
            yield joined(output.get("text", ""))
            yield from (joined(output.get("data", {}).get(kind, "")) for kind in TEXTS)
