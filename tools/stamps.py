"""Stamps: does a notebook's stored output come from this very code?

The stamp of a chapter is a digest of all that its outputs depend on: its code
cells, the code of the modules of the library that they reach, the recorded results that
they name, the pins of the packages that compute, and the size of the experiments. Prose,
docstrings, comments and outputs do not count, nor does the set-up cell, which installs the
library and computes nothing. The functions here read files and decide; they run and write
nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tools.bookfiles import ROOT, Notebook, code_cells, is_setup, read_notebook, tags
from tools.library import bare, library_files

SIZES = ("smoke", "default", "full")
STORED_SIZE = "default"  # the size of the outputs that the repository keeps
BUILDERS = "# --- "  # begins the heading in requirements.txt below which nothing computes


def wanted_size() -> str:
    """Size of the experiments that the environment variable LPL_SIZE asks for."""
    size = os.environ.get("LPL_SIZE") or STORED_SIZE
    if size not in SIZES:
        raise ValueError(f"LPL_SIZE is {size!r}; it must be one of {', '.join(SIZES)}")
    return size


def plain(data: bytes) -> bytes:
    """The same text whatever the line endings of the checkout."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def named_records(notebook: Notebook, results: Path) -> list[Path]:
    """Files in `results` whose name without suffix is a word in a code cell."""
    code = "\n".join(cell["source"] for _, cell in code_cells(notebook))
    files = sorted(path for path in results.glob("*") if path.is_file())
    return [
        path
        for path in files
        if path.suffix != ".md"
        and not path.name.startswith(".")
        and re.search(rf"(?<![\w-]){re.escape(path.stem)}(?![\w-])", code)
    ]


def computing_pins(requirements: str) -> list[str]:
    """Pins of the packages that outputs can depend on: those above the builders'."""
    lines = requirements.partition(f"\n{BUILDERS}")[0].splitlines()
    return sorted(filter(None, (line.partition("#")[0].strip() for line in lines)))


def digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """One digest of named pieces; neither names nor borders can be confused."""
    total = hashlib.sha256()
    for name, data in parts:
        for piece in (name.encode(), plain(data)):
            total.update(str(len(piece)).encode() + b":" + piece)
    return total.hexdigest()


def stamp(notebook: Notebook, size: str, root: Path = ROOT) -> str:
    """The stamp that the notebook's outputs of this `size` should carry."""
    computing = [cell for cell in notebook["cells"] if not is_setup(cell)]
    notebook = {**notebook, "cells": computing}
    parts = [("size", size.encode())]
    for _, cell in code_cells(notebook):
        parts.append(("cell", cell["source"].encode()))
        parts.append(("tags", " ".join(sorted(tags(cell))).encode()))
    pins = (root / "requirements.txt").read_text(encoding="utf-8")
    parts.append(("pins", "\n".join(computing_pins(pins)).encode()))
    for path in library_files(notebook, root):
        code = bare(path.read_text(encoding="utf-8"))
        parts.append((path.relative_to(root).as_posix(), code.encode()))
    for path in named_records(notebook, root / "results"):
        parts.append((path.relative_to(root).as_posix(), path.read_bytes()))
    return digest(parts)


def stale_reason(path: Path, size: str, root: Path = ROOT) -> str | None:
    """Why the stored outputs of a notebook cannot be kept; None if they can."""
    notebook = read_notebook(path)
    stored = notebook["metadata"].get("lpl", {})
    if any(cell.get("execution_count") is None for _, cell in code_cells(notebook)):
        return "it has cells that were not run"
    if "stamp" not in stored:
        return "its outputs carry no stamp"
    if stored.get("size") != size:
        return f"its outputs are of size {stored.get('size')}, not {size}"
    if stored["stamp"] != stamp(notebook, size, root):
        return "its code, the library, a record or the pins have changed"
    return None
