"""Which files a chapter's outputs, or a test, depend on, and what of them is code.

A chapter depends on the modules that its cells import, and on those that these import.
``from lpl_lib import LPL`` and ``lpl_lib.LPL`` are followed to the module that defines
``LPL``, so that a change elsewhere in the library leaves the chapter as it is. Whoever
hands on ``lpl_lib`` itself may use anything, which counts for all of it. An import inside
a function counts; one for the type checker alone (``if TYPE_CHECKING:``) does not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tools.bookfiles import Notebook, code_cells, python_tree

NAME = "lpl_lib"
INIT = "__init__.py"
MENTION = re.compile(rf"\b{NAME}(?:\.\w+)+")
MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)
UNTRUE = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
PLACES = ("", "tests", "book/_ext")  # where imports of our own are found, from the root


def library_files(notebook: Notebook, root: Path) -> list[Path]:
    """The files of the library that the chapter's code reaches, sorted.

    Commands (``%run -m lpl_lib.lab.run``) and strings count as well; a cell that is no
    Python may use anything.
    """
    waiting: list[Path] = []
    for _, cell in code_cells(notebook):
        tree = python_tree(cell["source"])
        names = {*_used(tree), *_mentioned(cell["source"], tree)} if tree else {NAME}
        waiting += files_of(names, root)
    return reached_by(waiting, root)


def reached_from(module: str, root: Path) -> list[Path]:
    """The files that a module of ours reaches, itself among them, sorted."""
    return reached_by(_resolve(module, root), root)


def bare(source: str) -> str:
    """What a module does: its syntax tree without docstrings.

    >>> bare('"One."\\nx = 1  # why') == bare('x = (1)')
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a text by itself may also describe the line before
            body[:] = [part for part in body if not is_text(part)]
    return repr(_plain(tree))


def is_text(node: ast.AST) -> bool:
    """Is this a docstring, or another text that does nothing?"""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _plain(node: object) -> object:
    """A syntax tree as tuples, without the empty fields that a later Python adds."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, ast.AST):
        return node
    filled = (pair for pair in ast.iter_fields(node) if pair[1] not in (None, []))
    return type(node).__name__, [(name, _plain(part)) for name, part in filled]


def reached_by(files: Iterable[Path], root: Path) -> list[Path]:
    """Files of ours that these import, and that those import, themselves included."""
    waiting, reached = list(files), set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += files_of(_names_in(path.read_text(encoding="utf-8")), root)
    return sorted(reached, key=lambda path: path.as_posix())


@cache
def _names_in(source: str) -> frozenset[str]:
    return frozenset(_used(ast.parse(source)))


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, parents first, without what is for the type checker alone."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in UNTRUE:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _used(tree: ast.Module) -> Iterator[str]:
    """Dotted names that the code imports, or reads as attributes of the library."""
    inner: set[ast.expr] = set()  # what an attribute was taken of; it comes later
    for node in running(tree):
        if isinstance(node, ast.Import):
            # `import lpl_lib` alone uses nothing yet, under another name we lose track
            yield from (n.name for n in node.names if n.name != NAME or n.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            if node not in inner and re.fullmatch(rf"{NAME}(\.\w+)*", ast.unparse(node)):
                yield ast.unparse(node)
            if isinstance(node, ast.Attribute):
                inner.add(node.value)


def _mentioned(source: str, tree: ast.Module) -> Iterator[str]:
    """Dotted names of the library in a cell's commands and strings."""
    yield from MENTION.findall("\n".join(MAGIC.findall(source)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from MENTION.findall(node.value)


def files_of(names: Iterable[str], root: Path) -> list[Path]:
    """The files that define these dotted names, as far as they are ours."""
    return [path for name in names for path in _resolve(name, root)]


def _resolve(name: str, root: Path) -> list[Path]:
    """The file that defines a dotted name; all files of a package that is named itself.

    No file if it is not ours.
    """
    top = name.split(".")[0]
    homes = [root / place for place in PLACES]
    homes = [h for h in homes if (h / f"{top}.py").is_file() or (h / top / INIT).is_file()]
    if not homes:
        return []
    place = homes[0]
    for part in name.split("."):
        module = place / f"{part}.py"
        if module.is_file():
            return [module]
        if not (place / part).is_dir():
            return _through_init(place, part, root)
        place = place / part
    return sorted(place.rglob("*.py"))


def _through_init(package: Path, name: str, root: Path) -> list[Path]:
    """Where a package's ``__init__`` has a name from; itself if it makes the name.

    One that imports a name late (``__getattr__``) says to the type checker where it is.
    """
    tree = ast.parse((package / INIT).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    found = _resolve(f"{node.module}.{alias.name}", root)
                    return found or [package / INIT]
    return [package / INIT]
