"""Make the student's and the lecturer's edition of the book from the same tree.

    python -m tools.editions            both, in _build/editions/student and .../lecturer
    python -m tools.editions student    one of them

An edition is a copy of all files that git knows or would take, in which only the
solutions differ: the student's has none (what a learner is to fill in stays), the
lecturer's has them open. `make site` and `make pdf` work in the copy as they do here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.bookfiles import ROOT, Notebook, chapters, read_notebook
from tools.notebooks import written
from tools.render import BUILD

EDITIONS = ("student", "lecturer")
START = re.compile(r"^(:{3,})\{solution-start\}[^\n]*\n(?:[^\n]*\n)*?\1$", re.MULTILINE)
END = re.compile(r"^(:{3,})\{solution-end\} *\n\1$", re.MULTILINE)
WHOLE = re.compile(r"^(:{3,})\{solution\}[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
FOLDED = re.compile(
    r"^(:{3,}\{solution(?:-start)?\}[^\n]*\n):class: dropdown\n", re.MULTILINE
)


def outside(text: str, inside: bool) -> tuple[str, bool]:
    """What of a text stands outside solutions; does a solution go on after it?"""
    kept, place = [], 0
    while True:
        match = (END if inside else START).search(text, place)
        if not inside:
            kept.append(text[place : match.start() if match else len(text)])
        if match is None:
            return WHOLE.sub("", "".join(kept)), inside
        inside, place = not inside, match.end()


def without_solutions(notebook: Notebook) -> Notebook:
    """The notebook of the student's edition."""

    def cells() -> Iterator[dict[str, object]]:
        inside = False
        for cell in notebook["cells"]:
            if cell["cell_type"] != "markdown":
                if not inside:
                    yield cell
                continue
            text, inside = outside(cell["source"], inside)
            text = re.sub(r"\n{3,}", "\n\n", text).strip("\n")
            if text:
                yield {**cell, "source": text}
        if inside:
            raise ValueError("a solution-start has no solution-end")

    return {**notebook, "cells": list(cells())}


def with_open_solutions(notebook: Notebook) -> Notebook:
    """The notebook of the lecturer's edition."""
    cells = [
        {**cell, "source": FOLDED.sub(r"\1", cell["source"])}
        if cell["cell_type"] == "markdown"
        else cell
        for cell in notebook["cells"]
    ]
    return {**notebook, "cells": cells}


CHANGES = {"student": without_solutions, "lecturer": with_open_solutions}


def files(root: Path) -> list[Path]:
    """The files that git knows, or would take."""
    command = ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)
    names = filter(None, done.stdout.decode().split("\0"))
    return sorted({Path(name) for name in names if (root / name).is_file()})


def make(edition: str, target: Path, root: Path = ROOT) -> None:
    """Copy the tree to `target`, its chapters changed; what was there is removed."""
    shutil.rmtree(target, ignore_errors=True)
    changed = {path.relative_to(root) for path in chapters(root)}
    for name in files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name in changed:
            notebook = CHANGES[edition](read_notebook(root / name))
            (target / name).write_text(written(notebook), encoding="utf-8")
        else:
            shutil.copy(root / name, target / name)


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.editions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("edition", nargs="*", help="student, lecturer; default: both")
    wanted = parser.parse_args(arguments).edition or EDITIONS
    for edition in wanted:
        if edition not in EDITIONS:
            parser.error(f"there are the editions {' and '.join(EDITIONS)}, not {edition}")
    for edition in wanted:
        target = BUILD / "editions" / edition
        make(edition, target)
        print(f"{edition}: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
