"""Which files of the library a chapter's outputs depend on.

A chapter depends on the modules that its cells import, and on those that these import.
``from lpl_lib import LPL`` and ``lpl_lib.LPL`` are followed to the module that defines
``LPL``, so that a change elsewhere in the library leaves the chapter as it is. Whoever
hands on ``lpl_lib`` itself may use anything, which counts for all of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.bookfiles import Notebook, code_cells, python_tree

NAME = "lpl_lib"
MENTION = re.compile(rf"\b{NAME}(?:\.\w+)+")
MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)


def library_files(notebook: Notebook, root: Path) -> list[Path]:
    """The files of the library that the chapter's code reaches, sorted.

    Commands (``%run -m lpl_lib.lab.run``) and strings count as well; a cell that is no
    Python may use anything.
    """
    waiting: list[Path] = []
    for _, cell in code_cells(notebook):
        tree = python_tree(cell["source"])
        names = {*_used(tree), *_mentioned(cell["source"], tree)} if tree else {NAME}
        waiting += _files_of(names, root)
    return _reached(waiting, root)


def reached_from(module: str, root: Path) -> list[Path]:
    """The files of the library that a module of it reaches, itself among them, sorted."""
    return _reached(_resolve(module, root), root)


def _reached(waiting: list[Path], root: Path) -> list[Path]:
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            waiting += _files_of(_used(tree), root)
    return sorted(reached, key=lambda path: path.as_posix())


def _used(tree: ast.Module) -> Iterator[str]:
    """Dotted names of the library that the code imports or reads as attributes."""
    inner: set[ast.expr] = set()  # what an attribute was taken of; walk meets that first
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            # `import lpl_lib` alone uses nothing yet, under another name we lose track
            yield from (
                name.name
                for name in node.names
                if _is_ours(name.name) and (name.name != NAME or name.asname)
            )
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            dotted = ast.unparse(node)
            if node not in inner and re.fullmatch(rf"{NAME}(\.\w+)*", dotted):
                yield dotted
            if isinstance(node, ast.Attribute):
                inner.add(node.value)


def _mentioned(source: str, tree: ast.Module) -> Iterator[str]:
    """Dotted names of the library in a cell's commands and strings."""
    yield from MENTION.findall("\n".join(MAGIC.findall(source)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from MENTION.findall(node.value)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == NAME


def _files_of(names: Iterable[str], root: Path) -> list[Path]:
    return [path for name in names for path in _resolve(name, root)]


def _resolve(name: str, root: Path) -> list[Path]:
    """The file that defines a dotted name; all files of a package that is named itself."""
    place = root
    for part in name.split("."):
        module = place / f"{part}.py"
        if module.is_file():
            return [module]
        if not (place / part).is_dir():
            return _through_init(place, part, root)
        place = place / part
    return sorted(place.rglob("*.py"))


def _through_init(package: Path, name: str, root: Path) -> list[Path]:
    """Where a package's ``__init__`` has a name from; itself if it makes the name."""
    init = package / "__init__.py"
    tree = ast.parse(init.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _resolve(f"{node.module}.{alias.name}", root)
    return [init]
