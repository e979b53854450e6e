"""The framework programs: plain and perturbed differ by one line and one import, and
the chapter shows and runs these very texts."""

from __future__ import annotations

import ast
import difflib
import itertools
import re
from pathlib import Path

import pytest

from tools.bookfiles import ROOT, code_cells, read_notebook, stdout

EXAMPLES = ROOT / "examples"
NAMES = ["pytorch", "lightning", "transformers", "timm"]
NOTEBOOK = read_notebook(ROOT / "book" / "practice" / "07-plug-in.ipynb")
PAIRS = list(itertools.pairwise(cell for _, cell in code_cells(NOTEBOOK)))


def program(form: str, name: str) -> Path:
    return EXAMPLES / form / f"train_{name}.py"


def joined(first, second):
    """A program that the chapter has in two cells."""
    return f"{first['source']}\n\n{second['source']}"


def changes(name: str) -> tuple[list[str], list[str]]:
    """Lines that only the plain text has, and lines that only the perturbed one has."""
    texts = [program(form, name).read_text() for form in ("plain", "perturbed")]
    lines = list(difflib.ndiff(*(text.splitlines()[1:] for text in texts)))
    return (
        [line[2:] for line in lines if line.startswith("- ")],
        [line[2:] for line in lines if line.startswith("+ ")],
    )


def is_import(line: str) -> bool:
    return line.startswith(("import ", "from "))


def test_every_program_has_both_forms():
    for form in ("plain", "perturbed"):
        assert sorted(EXAMPLES.glob(f"{form}/*")) == sorted(
            program(form, name) for name in NAMES
        )


@pytest.mark.parametrize("name", NAMES)
def test_one_line_and_one_import_change(name):
    for lines in changes(name):
        assert sum(map(is_import, lines)) <= 1
        assert sum(not is_import(line) for line in lines) <= 1
    assert any("lpl_lib" in line for line in changes(name)[1])


@pytest.mark.parametrize("form", ["plain", "perturbed"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_says_where_it_stands_and_imports_what_it_uses(name, form):
    text = program(form, name).read_text()
    assert text.startswith(f"# examples/{form}/train_{name}.py\n")
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = (n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)))
    bound = {alias.asname or alias.name for node in imports for alias in node.names}
    assert {name.split(".")[0] for name in bound} <= used


@pytest.mark.parametrize("form", ["plain", "perturbed"])
@pytest.mark.parametrize("name", NAMES)
def test_the_chapter_runs_and_shows_this_text(name, form):
    text = program(form, name).read_text().rstrip("\n")
    assert text in [joined(first, second) for first, second in PAIRS]
    shown = "\n".join(c["source"] for c in NOTEBOOK["cells"] if c["cell_type"] != "code")
    assert text.split("\n", 1)[1] in shown


def scores(form: str, name: str) -> tuple[float, float]:
    """Balanced accuracy and the tail's, in percent, when the chapter ran a program."""
    text = program(form, name).read_text().rstrip("\n")
    said = "".join(
        stdout(second) for first, second in PAIRS if joined(first, second) == text
    )
    found = re.search(r"balanced (\S+)%, tail (\S+)%", said)
    assert found
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("name", NAMES)
def test_the_programs_learnt_when_the_chapter_ran_them(name):
    """The tests run the chapter's cells, and so the programs, in the real frameworks."""
    plain, perturbed = scores("plain", name), scores("perturbed", name)
    assert min(plain[0], perturbed[0]) > 60  # chance is 10
    assert perturbed[1] > plain[1] + 5
