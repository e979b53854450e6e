"""Guards on the chapters as files: what nbval would let pass in silence.

Each guard takes a chapter and returns its complaints. Every guard is tried twice:
on the book's chapters, where it must be content, and on a small notebook that was
broken on purpose, where it must not be.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import os
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tools.bookfiles import (
    ROOT,
    STATUSES,
    Notebook,
    address,
    chapters,
    claim_calls,
    claims,
    code_cells,
    is_setup,
    joined,
    read_notebook,
    stdout,
    tags,
    title,
)
from tools.lengths import MOST_CLAIMS, MOST_WORDS, MOST_WORDS_A_CHAPTER, lengths
from tools.notebooks import SETUP_TAGS, write_address
from tools.stamps import STORED_SIZE, stale_reason, stamp

MOST_LINES, MOST_HIDDEN_LINES, MOST_COLUMNS = 15, 25, 78
MOST_BYTES = 1_000_000
HIDING_TAGS = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
IMAGE_TYPES = ("image/svg+xml", "image/png", "image/jpeg")
PRIVATE = re.compile(
    r"/home/\w|/Users/\w|/root/|/tmp/|[A-Z]:\\+Users|0x[0-9a-f]{8}", re.IGNORECASE
)
NOISE = re.compile(r"\bTraceback\b|\bWarning\b")


@dataclass(frozen=True)
class Chapter:
    """A notebook, where it stands, and the repository that it belongs to."""

    path: Path
    notebook: Notebook
    root: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(self.root).as_posix()

    @property
    def prose(self) -> str:
        cells = self.notebook["cells"]
        return "\n\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#{2,} +(.+)$", self.prose, re.MULTILINE)


def load(path: Path, root: Path = ROOT) -> Chapter:
    return Chapter(path, read_notebook(path), root)


def outputs_text(cell: dict) -> str:
    """All text that a cell shows, without the drawings."""
    texts = []
    for output in cell.get("outputs", []):
        texts.append(joined(output.get("text", "")))
        for kind, data in output.get("data", {}).items():
            if kind not in IMAGE_TYPES:
                texts.append(joined(data) if kind.startswith("text/") else json.dumps(data))
    return "\n".join(texts)


def images(cell: dict) -> int:
    return sum(
        any(kind in output.get("data", {}) for kind in IMAGE_TYPES)
        for output in cell.get("outputs", [])
    )


# --- the guards -----------------------------------------------------------------


def runs_in_order(chapter: Chapter) -> list[str]:
    """Every code cell was run, once, from top to bottom."""
    cells = [c for c in chapter.notebook["cells"] if c["cell_type"] == "code"]
    if not cells:
        return ["there is no code"]
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        return [f"execution counts are {counts}; an empty code cell has none"]
    return []


def has_no_error(chapter: Chapter) -> list[str]:
    """No stored error, nothing on stderr, no warning among the outputs."""
    found = []
    for index, cell in code_cells(chapter.notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"cell {index} stores an error")
            if output.get("name") == "stderr":
                found.append(f"cell {index} stores text from stderr")
        match = NOISE.search(outputs_text(cell))
        if match:
            found.append(f"cell {index} shows {match.group()!r}")
    return found


def has_checked_cells(chapter: Chapter) -> list[str]:
    """nbval compares some cells, those have something to compare, claims are among them."""
    found = []
    checked = 0
    for index, cell in code_cells(chapter.notebook):
        if "nbval-check-output" in tags(cell):
            checked += 1
            if not stdout(cell).strip():
                found.append(f"cell {index} is checked but printed nothing")
        elif claim_calls(cell["source"]):
            found.append(f"cell {index} states a claim without the tag nbval-check-output")
    return found if checked else [*found, "no cell is checked"]


def hides_nothing_from_nbval(chapter: Chapter) -> list[str]:
    """No cell is skipped but the set-up, none may fail, no comment overrules a tag."""
    found = []
    for index, cell in code_cells(chapter.notebook):
        if index != 1 and "nbval-skip" in tags(cell):
            found.append(f"cell {index} is skipped; what follows may need it")
        if {"raises-exception", "nbval-raises-exception"} & set(tags(cell)):
            found.append(f"cell {index} may raise; catch the exception and print it")
        if re.search(r"^\s*#\s*nbval", cell["source"], re.IGNORECASE | re.MULTILINE):
            found.append(f"cell {index} has an nbval comment; use a tag")
    return found


def has_short_cells(chapter: Chapter) -> list[str]:
    """A reader takes in a cell at a glance."""
    found = []
    for index, cell in code_cells(chapter.notebook):
        most = MOST_HIDDEN_LINES if HIDING_TAGS & set(tags(cell)) else MOST_LINES
        lines = len(cell["source"].splitlines())
        if lines > most:
            found.append(f"cell {index} has {lines} lines, more than {most}")
    return found


def has_short_lines(chapter: Chapter) -> list[str]:
    """Code fits the page."""
    return [
        f"cell {index} has a line of {len(line)} characters, more than {MOST_COLUMNS}"
        for index, cell in code_cells(chapter.notebook)
        if index != 1  # the set-up cell holds the repository's address
        for line in cell["source"].splitlines()
        if len(line) > MOST_COLUMNS
    ]


def has_no_semicolon(chapter: Chapter) -> list[str]:
    """A semicolon that hides a result in Jupyter does not hide it from nbval."""
    return [
        f"cell {index} has a line that ends in a semicolon"
        for index, cell in code_cells(chapter.notebook)
        if re.search(r";[ \t]*(#.*)?$", cell["source"], re.MULTILINE)
    ]


def is_nobodys_machine(chapter: Chapter) -> list[str]:
    """No path of a machine and no memory address in code or outputs."""
    found = []
    for index, cell in enumerate(chapter.notebook["cells"]):
        match = PRIVATE.search(cell["source"] + "\n" + outputs_text(cell))
        if match:
            found.append(f"cell {index} holds {match.group()!r}")
    return found


def has_alt_texts(chapter: Chapter) -> list[str]:
    """Each figure has a description and a caption, and a cell draws one figure."""
    found = []
    for index, cell in enumerate(chapter.notebook["cells"]):
        if cell["cell_type"] == "markdown":
            if re.search(r"!\[\s*\]\(", cell["source"]):
                found.append(f"cell {index} has an image without alt text")
            continue
        count = images(cell)
        about = cell["metadata"].get("mystnb", {})
        if count and len(about.get("image", {}).get("alt", "").split()) < 4:
            found.append(f"cell {index} draws without alt text (mystnb: image: alt)")
        if count and not about.get("figure", {}).get("caption", "").strip():
            found.append(f"cell {index} draws without caption (mystnb: figure: caption)")
        if count > 1:
            found.append(f"cell {index} draws {count} figures; the alt text fits one")
    return found


def is_small(chapter: Chapter) -> list[str]:
    """The file stays easy to fetch and to compare."""
    size = chapter.path.stat().st_size
    return [f"the file has {size} bytes"] if size >= MOST_BYTES else []


def opens_on_colab(chapter: Chapter) -> list[str]:
    """Title, badge and set-up cell are those of the public address."""
    home = address(chapter.root)
    first, second = chapter.notebook["cells"][:2]
    found = []
    if home.badge(chapter.name) not in first["source"].splitlines():
        found.append(
            "the badge is missing or differs; run python -m tools.notebooks address"
        )
    if second["source"] != home.setup() or tags(second) != SETUP_TAGS:
        found.append(
            "the set-up cell is missing or differs; run python -m tools.notebooks address"
        )
    return found


def is_named_well(chapter: Chapter) -> list[str]:
    """``NN-some-name.ipynb``, with the number of the title ``# N · Title``.

    A letter may follow the number: 06b comes between 6 and 7.
    """
    name = re.fullmatch(r"(\d\d[a-z]?)-[a-z0-9]+(-[a-z0-9]+)*\.ipynb", chapter.path.name)
    if not name:
        return ["the file's name is not NN-words-with-hyphens.ipynb"]
    first = chapter.notebook["cells"][0]
    head = re.match(r"# (\d+[a-z]?) · \S", first["source"])
    if first["cell_type"] != "markdown" or not head:
        return ["the first cell does not begin with '# N · Title'"]
    if head.group(1) != name.group(1).lstrip("0"):
        return ["the numbers in file name and title differ"]
    return []


def is_plain_python(chapter: Chapter) -> list[str]:
    """The kernel is python3, and cells have names of their own."""
    found = []
    kernel = chapter.notebook["metadata"].get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"the kernel is {kernel}, not python3")
    names = [cell.get("id") for cell in chapter.notebook["cells"]]
    if None in names or len(set(names)) < len(names):
        found.append("cells lack an id, or share one")
    return found


def has_the_form(chapter: Chapter) -> list[str]:
    """The sections that every chapter has."""
    found = []
    box = (
        r"\{admonition\} In short\n\*\*Do\.\*\*.*\n\n\*\*Why\.\*\*.*\n\n\*\*How sure\.\*\*"
    )
    if not re.search(box, chapter.prose):
        found.append("a box 'In short' with **Do.**, **Why.** and **How sure.** is missing")
    if not re.search(r"what you will learn", chapter.prose, re.IGNORECASE):
        found.append("'What you will learn' is missing")
    listed = "## Claims of this chapter\n\n```{chapter-claims}\n```"
    if chapter.prose.count(listed) != 1:
        found.append("the section 'Claims of this chapter' with its list is missing")
    for what in ("Exercises", "Further reading"):
        if not any(what.lower() in head.lower() for head in chapter.headings):
            found.append(f"the section '{what}' is missing")
    return found


def folds_solutions(chapter: Chapter) -> list[str]:
    """There are exercises, and each has a solution that is folded at first."""
    fence = r"^[:`]{3,}\{"
    labels = re.findall(
        fence + r"exercise(?:-start)?\}[^\n]*\n(?::[^\n]*\n)*?:label: *(\S+)",
        chapter.prose,
        re.MULTILINE,
    )
    solutions = dict(
        re.findall(
            fence + r"solution(?:-start)?\} *(\S+) *\n((?::[^\n]*\n)*)",
            chapter.prose + "\n",
            re.MULTILINE,
        )
    )
    found = [] if labels else ["there is no exercise with a label"]
    found += [f"{label} has no solution" for label in labels if label not in solutions]
    found += [
        f"the solution of {label} is not folded (:class: dropdown)"
        for label, options in solutions.items()
        if not re.search(r":class:.*\bdropdown\b", options)
    ]
    return found


def is_up_to_date(chapter: Chapter) -> list[str]:
    """The stored outputs come from this very code."""
    reason = stale_reason(chapter.path, STORED_SIZE, chapter.root)
    return [f"stale: {reason}; run make book"] if reason else []


def states_claims(chapter: Chapter) -> list[str]:
    """Claims are literal, numbered C<chapter>.1, .2, ..., and shown to hold."""
    try:
        stated = claims(chapter.notebook)
    except ValueError as error:
        return [str(error)]
    head = re.match(r"(\d+[a-z]?) ·", title(chapter.notebook))
    number = head.group(1) if head else "?"
    wanted = [f"C{number}.{k}" for k in range(1, len(stated) + 1)]
    found = [] if stated else ["there is no claim"]
    if [claim.number for claim in stated] != wanted:
        found.append(f"claims are {[claim.number for claim in stated]}, not {wanted}")
    for claim in stated:
        if claim.status not in STATUSES:
            found.append(f"{claim.number} has the unknown status {claim.status!r}")
        if not claim.holds:
            found.append(f"{claim.number} is not shown to hold by the stored output")
    return found


def parses(chapter: Chapter) -> list[str]:
    """Code cells are Python (magics aside), so that claims are not overlooked."""
    found = []
    for index, cell in code_cells(chapter.notebook):
        plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell["source"], flags=re.MULTILINE)
        try:
            ast.parse(plain)
        except SyntaxError as error:
            found.append(f"cell {index} does not parse: {error}")
    return found


GUARDS: tuple[Callable[[Chapter], list[str]], ...] = (
    runs_in_order,
    has_no_error,
    has_checked_cells,
    hides_nothing_from_nbval,
    has_short_cells,
    has_short_lines,
    has_no_semicolon,
    is_nobodys_machine,
    has_alt_texts,
    is_small,
    opens_on_colab,
    is_named_well,
    is_plain_python,
    has_the_form,
    folds_solutions,
    is_up_to_date,
    states_claims,
    parses,
)


# --- the book's chapters --------------------------------------------------------


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_chapter(path: Path, guard: Callable[[Chapter], list[str]]) -> None:
    complaints = guard(load(path))
    assert not complaints, f"{path.name}: " + "; ".join(complaints)


def test_claim_numbers_are_unique_in_the_book() -> None:
    numbers = [claim.number for path in chapters() for claim in claims(read_notebook(path))]
    assert len(set(numbers)) == len(numbers)


def test_the_book_is_no_longer_than_a_reader_bears() -> None:
    found = lengths()
    prose, stated = zip(*found.values(), strict=True)
    assert sum(prose) <= MOST_WORDS
    assert sum(stated) <= MOST_CLAIMS
    assert {name for name, (n, _) in found.items() if n > MOST_WORDS_A_CHAPTER} == set()


def test_every_notebook_is_in_the_table_of_contents() -> None:
    there = {
        path for path in (ROOT / "book").rglob("*.ipynb") if "_build" not in path.parts
    }
    assert there == set(chapters())


# --- the guards themselves ------------------------------------------------------


def code(name: str, source: str, count: int, text: str = "", *marks: str) -> dict:
    outputs = [{"output_type": "stream", "name": "stdout", "text": text}] if text else []
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {"tags": list(marks)},
        "source": source,
        "outputs": outputs,
        "execution_count": count,
    }


def prose(name: str, source: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


IN_SHORT = """:::{admonition} In short
**Do.** This.

**Why.** It works.

**How sure.** Proved.
:::
"""
CLAIM = """\
claim(
    "C3.1",
    "one is less than two",
    1 < 2,
    status="verified numerically",
    source="ours",
)"""
SOLVED = """\
## Exercises

:::{exercise}
:label: ex-sum
Add.
:::

:::{solution} ex-sum
:class: dropdown
Three.
:::"""


@pytest.fixture
def good(tmp_path: Path) -> Chapter:
    """A repository with one chapter that no guard complains of."""
    (tmp_path / "book" / "part").mkdir(parents=True)
    (tmp_path / "lpl_lib").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "lpl_lib" / "__init__.py").write_text("")
    (tmp_path / "requirements.txt").write_text("numpy==1\n")
    (tmp_path / "_config.yml").write_text(
        "repository: {url: 'https://github.com/some/book', branch: main}\n"
        "html: {baseurl: 'https://some.github.io/book/'}\n"
    )
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 0.2.0, not released yet\n")
    drawing = code("draw", "plt.show()", 3)
    drawing["outputs"] = [
        {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": "<svg/>"}}
    ]
    drawing["metadata"]["mystnb"] = {
        "image": {"alt": "Two curves that cross once."},
        "figure": {"caption": "Two curves.", "name": "fig-two"},
    }
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"display_name": "x", "name": "python3"}},
        "cells": [
            prose("head", f"# 3 · A title\n\n{IN_SHORT}\n**What you will learn.** Little."),
            code("sum", "print(1 + 2)", 2, "3\n"),
            drawing,
            prose("claims", "## Claims of this chapter\n\n```{chapter-claims}\n```"),
            code(
                "claim",
                CLAIM,
                4,
                "C3.1 holds: one is less than two\n    verified numerically; ours\n",
                "nbval-check-output",
            ),
            prose("exercises", SOLVED),
            prose("reading", "## Further reading\n\nA book."),
        ],
    }
    path = tmp_path / "book" / "part" / "03-a-title.ipynb"
    path.write_text(json.dumps(notebook))
    write_address(path, tmp_path)
    made = read_notebook(path)
    made["cells"][1]["execution_count"] = 1
    return store(Chapter(path, made, tmp_path))


def store(chapter: Chapter) -> Chapter:
    """Stamp and write a chapter."""
    chapter.notebook["metadata"]["lpl"] = {
        "size": STORED_SIZE,
        "stamp": stamp(chapter.notebook, STORED_SIZE, chapter.root),
    }
    chapter.path.write_text(json.dumps(chapter.notebook))
    return chapter


def cell(notebook: Notebook, name: str) -> dict:
    return next(cell for cell in notebook["cells"] if cell["id"] == name)


def set_source(name: str, old: str, new: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        part = cell(notebook, name)
        assert old in part["source"]
        part["source"] = part["source"].replace(old, new)

    return change


def set_text(name: str, new: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        cell(notebook, name)["outputs"] = [
            {"output_type": "stream", "name": "stdout", "text": new}
        ]

    return change


def set_key(name: str, key: str, new: object) -> Callable[[Notebook], None]:
    return lambda notebook: cell(notebook, name).update({key: new})


def add_output(where: str, **output: object) -> Callable[[Notebook], None]:
    return lambda notebook: cell(notebook, where)["outputs"].append(output)


def set_tags(name: str, *marks: str) -> Callable[[Notebook], None]:
    return lambda notebook: cell(notebook, name)["metadata"].update(tags=list(marks))


def set_metadata(**entries: object) -> Callable[[Notebook], None]:
    return lambda notebook: notebook["metadata"].update(entries)


def drop(name: str) -> Callable[[Notebook], None]:
    return lambda notebook: notebook["cells"].remove(cell(notebook, name))


BREAKAGES = [
    (runs_in_order, set_key("sum", "execution_count", None)),
    (runs_in_order, set_key("sum", "execution_count", 7)),
    (runs_in_order, lambda nb: nb["cells"].append(code("empty", "", None))),
    (has_no_error, add_output("sum", output_type="error", traceback=[])),
    (has_no_error, add_output("sum", output_type="stream", name="stderr", text="oh")),
    (has_no_error, set_text("sum", "UserWarning: no\nWarning: oh\n")),
    (has_checked_cells, set_text("claim", " \n")),
    (has_checked_cells, set_tags("claim")),
    (has_checked_cells, drop("claim")),
    (hides_nothing_from_nbval, set_tags("sum", "nbval-skip")),
    (hides_nothing_from_nbval, set_tags("sum", "raises-exception")),
    (hides_nothing_from_nbval, set_source("sum", "print", "# NBVAL_SKIP\nprint")),
    (has_short_cells, set_key("sum", "source", "x = 1\n" * 16)),
    (has_short_lines, set_key("sum", "source", "x = '" + "a" * 80 + "'")),
    (has_no_semicolon, set_source("draw", "plt.show()", "plt.show();")),
    (has_no_semicolon, set_source("draw", "plt.show()", "plt.show();  # quiet")),
    (is_nobodys_machine, set_text("sum", "/home/ann/data\n")),
    (is_nobodys_machine, set_text("sum", "<object at 0x7f00aa00bb10>\n")),
    (is_nobodys_machine, set_source("sum", "print", "open('/tmp/x')\nprint")),
    (has_alt_texts, lambda nb: cell(nb, "draw")["metadata"]["mystnb"].pop("image")),
    (has_alt_texts, lambda nb: cell(nb, "draw")["metadata"]["mystnb"].pop("figure")),
    (
        has_alt_texts,
        lambda nb: cell(nb, "draw")["outputs"].extend(cell(nb, "draw")["outputs"]),
    ),
    (has_alt_texts, set_source("head", "Little.", "![](a.svg)")),
    (is_small, set_source("head", "Little.", "Little. " * 130_000)),
    (opens_on_colab, set_source("head", "some/book", "other/book")),
    (opens_on_colab, set_source("set-up", "@main", "@old")),
    (opens_on_colab, set_source("set-up", "0.2.0", "0.1.0")),
    (opens_on_colab, set_tags("set-up", "remove-cell")),
    (is_named_well, set_source("head", "# 3 ·", "# 4 ·")),
    (is_named_well, set_source("head", "# 3 · A", "# A")),
    (is_plain_python, set_metadata(kernelspec={"name": "ann-env"})),
    (is_plain_python, set_key("sum", "id", "head")),
    (has_the_form, set_source("head", "What you will learn.", "")),
    (has_the_form, set_source("head", "**How sure.**", "Sure:")),
    (has_the_form, drop("claims")),
    (has_the_form, drop("exercises")),
    (has_the_form, drop("reading")),
    (folds_solutions, set_source("exercises", ":class: dropdown\n", "")),
    (folds_solutions, set_source("exercises", "{solution} ex-sum", "{note}")),
    (folds_solutions, drop("exercises")),
    (is_up_to_date, set_source("sum", "1 + 2", "2 + 1")),
    (is_up_to_date, set_metadata(lpl={})),
    (is_up_to_date, set_metadata(lpl={"size": "smoke", "stamp": "0"})),
    (states_claims, set_source("claim", "C3.1", "C4.1")),
    (states_claims, set_source("claim", '"one is', 'f"one is')),
    (states_claims, set_source("claim", "verified numerically", "quite sure")),
    (states_claims, set_text("claim", "C3.1 fails\n")),
    (states_claims, drop("claim")),
    (parses, set_source("sum", "print(1 + 2)", "print(1 + ")),
]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_guard_is_content_with_a_good_chapter(
    good: Chapter, guard: Callable[[Chapter], list[str]]
) -> None:
    assert guard(good) == []


@pytest.mark.parametrize(
    ("guard", "breakage"),
    BREAKAGES,
    ids=[f"{guard.__name__}-{k}" for k, (guard, _) in enumerate(BREAKAGES)],
)
def test_guard_sees_a_broken_chapter(
    good: Chapter,
    guard: Callable[[Chapter], list[str]],
    breakage: Callable[[Notebook], None],
) -> None:
    broken = copy.deepcopy(good.notebook)
    breakage(broken)
    good.path.write_text(json.dumps(broken))
    assert guard(load(good.path, good.root)) != []


def test_every_guard_is_shown_to_fail() -> None:
    assert {guard for guard, _ in BREAKAGES} == set(GUARDS)


RELEASED = "# Changes\n\n## 0.2.0, 2027-03-01\n\n- New.\n\n## 0.1.0, 2026-12-01\n"


def test_badge_and_set_up_cell_follow_the_release(good: Chapter) -> None:
    """Before it they take the branch; the chapter need not run again for it."""
    (good.root / "CHANGELOG.md").write_text(RELEASED)
    assert opens_on_colab(good) != []
    assert write_address(good.path, good.root)
    made = load(good.path, good.root)
    assert opens_on_colab(made) == is_up_to_date(made) == runs_in_order(made) == []
    home = "https://colab.research.google.com/github/some/book/blob/v0.2.0/book/part/"
    assert f"{home}03-a-title.ipynb)" in made.prose
    installs = [c["source"] for c in made.notebook["cells"] if is_setup(c)]
    assert len(installs) == 1
    assert '"lpl-lib[book] @ git+https://github.com/some/book@v0.2.0"' in installs[0]
    assert not write_address(good.path, good.root)


def test_a_list_of_changes_without_a_release_is_refused(good: Chapter) -> None:
    (good.root / "CHANGELOG.md").write_text("# Changes\n\n## Soon\n")
    with pytest.raises(ValueError, match="CHANGELOG"):
        address(good.root)


@dataclass
class Shell:
    """A set-up cell run in a Python that stands for the reader's."""

    modules: dict[str, object]
    gpu: bool = False
    size: str | None = None

    def run(self, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
        """What the cell printed, and what it told pip to install."""
        asked: list[str] = []
        source = address().setup().replace("%pip install -q", "pip_install")
        source = re.sub(r"pip_install \{keep\} (.+)", r"pip(keep, \1)", source)
        for name in [name for name in sys.modules if name.split(".")[0] == "lpl_lib"]:
            monkeypatch.delitem(sys.modules, name)
        for name, module in self.modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr("torch.cuda.is_available", lambda: self.gpu)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
        monkeypatch.setenv("LPL_SIZE", self.size or "")  # is put back after the test
        if not self.size:
            monkeypatch.delenv("LPL_SIZE")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(source, {"pip": lambda *words: asked.extend(words)})
        return said.getvalue(), asked


def library(version: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(__version__=version)


@pytest.mark.parametrize(
    ("gpu", "size", "says"),
    [
        (False, None, "CPU · size default"),
        (True, None, "Tesla T4 · size full"),
        (True, "smoke", "Tesla T4 · size smoke"),
    ],
)
def test_the_set_up_cell_says_what_the_chapter_runs_on(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, size: str | None, says: str
) -> None:
    version = address().version
    said, asked = Shell({"lpl_lib": library(version)}, gpu, size).run(monkeypatch)
    assert said == f"lpl_lib {version} · {says}\n"
    assert asked == []
    assert os.environ["LPL_SIZE"] == says.split()[-1]


def test_the_set_up_cell_installs_what_is_missing_and_keeps_torch_and_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, asked = Shell({"lpl_lib": None}).run(monkeypatch)  # None: importing it fails
    kept, wanted = asked
    assert kept == f"torch=={metadata.version('torch')} numpy=={metadata.version('numpy')}"
    assert wanted == f"lpl-lib[book] @ git+{address().repository}@{address().ref}"


def test_the_set_up_cell_asks_for_a_restart_after_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError, match="restart the session"):
        Shell({"lpl_lib": library("0.0.1")}).run(monkeypatch)


def test_guard_sees_a_bad_file_name(good: Chapter) -> None:
    bad = good.path.rename(good.path.with_name("03_a_title.ipynb"))
    assert is_named_well(load(bad, good.root)) != []


def test_guard_allows_longer_hidden_cells(good: Chapter) -> None:
    part = cell(good.notebook, "sum")
    part["source"] = "x = 1\n" * 20
    assert has_short_cells(good) != []
    part["metadata"]["tags"] = ["hide-input"]
    assert has_short_cells(good) == []
