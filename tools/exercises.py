"""Write the stubs of the coding exercises from their solutions.

    python -m tools.exercises            write the stubs of all chapters anew
    python -m tools.exercises PATH...    of these chapters only

The solution of a coding exercise is a code cell with the id ``LABEL-solution``. Its stub
is the same cell with the functions' bodies taken out, but for their docstrings; it has
the id ``LABEL-stub`` and stands in front of ``{solution-start} LABEL``. Both end with a
call of the checker, so that a reader who runs the stub is told what is missing.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tools.bookfiles import ROOT, Cell, Notebook, chapters, read_notebook
from tools.notebooks import replace_file, written

SOLUTION, STUB = "-solution", "-stub"
TAGS = ["nbval-check-output"]


def stub(source: str) -> str:
    """The source with ``...`` for the bodies of its functions and methods.

    A function without docstring is an error: the reader of the stub has nothing else.

    >>> print(stub('def f(x):\\n    "Double x."\\n    y = 2 * x\\n    return y'))
    def f(x):
        "Double x."
        ...
    """
    lines = source.split("\n")
    for function in reversed(list(functions(ast.parse(source)))):
        if ast.get_docstring(function) is None:
            raise ValueError(f"{function.name} has no docstring")
        first, last = function.body[0], function.body[-1]
        indent = " " * first.col_offset
        lines[first.end_lineno : last.end_lineno] = [f"{indent}..."]
    return "\n".join(lines)


def functions(tree: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """The functions and methods of a module, in order; not those inside of them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node)


def solutions(notebook: Notebook) -> dict[str, Cell]:
    """The solution cells by the label of their exercise."""
    return {
        cell["id"].removesuffix(SOLUTION): cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and cell.get("id", "").endswith(SOLUTION)
    }


def stubs(notebook: Notebook) -> dict[str, Cell]:
    """The stub cells by the label of their exercise."""
    return {
        cell["id"].removesuffix(STUB): cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and cell.get("id", "").endswith(STUB)
    }


def place_of(notebook: Notebook, label: str) -> int:
    """Position of the cell that begins the solution; the stub stands before it."""
    opening = re.compile(rf"^:::+\{{solution-start\}} {re.escape(label)}$", re.MULTILINE)
    for index, cell in enumerate(notebook["cells"]):
        match = opening.search(cell["source"])
        if cell["cell_type"] == "markdown" and match:
            if match.start():
                raise ValueError(f"{label}: its solution must begin a cell of its own")
            return index
    raise ValueError(f"{label}: there is no {{solution-start}} {label}")


def write_stubs(path: Path) -> bool:
    """Bring a chapter's stubs in line with its solutions; True if the file changed."""
    notebook = read_notebook(path)
    there = stubs(notebook)
    changed = False
    for label, solution in solutions(notebook).items():
        source = stub(solution["source"])
        if label not in there:
            cell = nbformat.v4.new_code_cell(id=label + STUB)
            there[label] = dict(cell)
            notebook["cells"].insert(place_of(notebook, label), there[label])
        if there[label]["source"] != source:
            there[label].update(source=source, outputs=[], execution_count=None)
            changed = True
        for cell in (there[label], solution):
            cell["metadata"]["tags"] = list(TAGS)
    if changed:
        replace_file(path, written(notebook))
    return changed


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.exercises",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    paths = [path.resolve() for path in parser.parse_args(arguments).paths]
    try:
        for path in paths or chapters():
            done = write_stubs(path)
            print(f"{os.path.relpath(path, ROOT)}: {'written' if done else 'fine'}")
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
