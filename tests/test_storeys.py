"""The library's storeys: who may import whom, what is named how, how large it may grow.

The core (what a practitioner installs) knows none of the others, the lab (experiments)
neither the folder (a practitioner's images) nor the book, these two not each other, and no
two things of the library share a name.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools.bookfiles import ROOT
from tools.library import is_text, running

LIBRARY = ROOT / "lpl_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
MAY_NOT_IMPORT = {
    "core": {"lab", "folder", "book"},
    "lab": {"folder", "book"},
    "folder": {"book"},
    "book": {"folder"},
}
SEVERAL = {"main"}  # what every program calls its command line


def storey(path: Path) -> str:
    """``core``, ``lab``, ``folder`` or ``book``."""
    folder = path.relative_to(LIBRARY).parts[0]
    return folder if folder in MAY_NOT_IMPORT else "core"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_file(name: str) -> Path | None:
    """The file of a module or package of the library."""
    place = ROOT / name.replace(".", "/")
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(path: Path) -> Iterator[Path]:
    """The files of the library that a module imports, wherever in it, to run."""
    for node in running(tree(path)):
        if isinstance(node, ast.Import):
            names = [[name.name] for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: the library's imports are absolute"
            base = node.module or ""
            names = [[f"{base}.{name.name}", base] for name in node.names]
        else:
            continue
        for candidates in names:
            ours = [name for name in candidates if name.split(".")[0] == "lpl_lib"]
            yield from [file for name in ours if (file := module_file(name))][:1]


def public(path: Path) -> Iterator[str]:
    """The classes, functions and constants that a module makes for others."""
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [part.id for part in node.targets if isinstance(part, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id] if node.value else []
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    described: set[int] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and is_text(node):
            described.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in blank:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - described)


def all_lines(paths: list[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_its_own_storey_and_those_below(path: Path) -> None:
    forbidden = MAY_NOT_IMPORT[storey(path)]
    assert [name_of(file) for file in imported(path) if storey(file) in forbidden] == []


def test_no_modules_import_each_other() -> None:
    graph = {path: set(imported(path)) - {path} for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(map(name_of, error.args[1])))


def test_no_two_things_share_a_name() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in set(public(path)) - SEVERAL:
            places[name].append(name_of(path))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_long(path: Path) -> None:
    assert all_lines([path]) <= 400


def test_the_library_stays_small() -> None:
    # what the next change adds beyond this, it has to take away elsewhere
    lines = {path: code_lines(path) for path in MODULES}
    folder = sum(lines[path] for path in MODULES if storey(path) == "folder")
    assert folder <= 350
    assert sum(lines.values()) <= 6000


def test_the_core_stays_small() -> None:
    assert all_lines([path for path in MODULES if storey(path) == "core"]) <= 3300


def test_the_tools_stay_small() -> None:
    folders = (ROOT / "tools", ROOT / "book" / "_ext")
    assert all_lines([path for folder in folders for path in folder.glob("*.py")]) <= 3960


def test_lines_of_code_are_counted_without_what_describes_them(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    text = '"""Text.\n\nMore."""\n\n# why\nx = f(\n    1,  # one\n)\n"""Of x."""\n'
    path.write_text(text)
    assert code_lines(path) == 3
