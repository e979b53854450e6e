"""What stands behind a claim: recorded runs, or a training in the chapter itself.

A claim's cell is followed backwards through the names that it uses, statement by
statement, to the calls that read records or train a network.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bookfiles import Claim, Notebook, claim_calls, claims, code_cells, python_tree
from tools.stamps import named_records

# calls that read the ledgers in results/
READERS = {"records", "recorded", "lines", "current"}
# calls that train a network, in the library and in the programs of chapters 7 and 18
TRAINERS = {
    "fit",
    "fit_meta_split",
    "train_canvases",
    "train_setting",
    "compose_matrix",
    "backward",
}
# methods that change the object on which they are called
CHANGERS = {"append", "extend", "add", "update", "setdefault", "step", "load_state_dict"}
# a claim of this kind is about the authors' tables, or says itself that it is recorded
OF_A_TABLE = re.compile(r"slides? 1[5-8]|\brecorded\b|\bresults/", re.IGNORECASE)


@dataclass(frozen=True)
class Behind:
    """What a claim's cell rests on."""

    records: bool
    training: bool


def behind(notebook: Notebook, claim: Claim) -> Behind:
    """Follow a claim's call backwards through the chapter's code."""
    nodes = _slice(notebook, claim)
    called = {_name(call.func) for node in nodes for call in _calls(node)}
    named = any(
        isinstance(part, ast.Constant) and str(part.value).endswith(".jsonl")
        for node in nodes
        for part in ast.walk(node)
    )
    return Behind(bool(called & READERS) or named, bool(called & TRAINERS))


def complaints(notebook: Notebook, results: Path) -> list[str]:
    """Claims of a chapter whose status promises runs that are not behind them.

    *Reproduced* and *partly reproduced* need a run: recorded, or made by the chapter,
    whose stored outputs carry a stamp. Where the claim is about the authors' tables, or
    says that it is recorded, the runs must be records, and the chapter must name a
    ledger in `results` that holds some.
    """
    found = []
    ledgers = [path for path in named_records(notebook, results) if path.stat().st_size]
    for claim in claims(notebook):
        rests = behind(notebook, claim)
        tables = bool(OF_A_TABLE.search(f"{claim.source} {claim.statement}"))
        promised = claim.status in ("reproduced", "partly reproduced")
        if promised and not (rests.records or rests.training):
            found.append(f"{claim.number} is {claim.status}, but no run is behind it")
        elif tables and claim.status != "not reproduced":
            if not rests.records:
                found.append(f"{claim.number} is about records, but rests on none")
            elif not ledgers:
                found.append(f"{claim.number} rests on a ledger that holds no run")
    return found


def ledgers_read(notebook: Notebook, results: Path) -> list[str]:
    """Ledgers in `results` that the chapter's code reads, by name.

    Their name is a string of its own in a chapter that calls a reader.
    """
    trees = [python_tree(cell["source"]) for _, cell in code_cells(notebook)]
    nodes = [node for tree in trees if tree for node in ast.walk(tree)]
    called = {_name(node.func) for node in nodes if isinstance(node, ast.Call)}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    names = [path.stem for path in sorted(results.glob("*.jsonl")) if path.stem in texts]
    return names if called & READERS else []


def _slice(notebook: Notebook, claim: Claim) -> list[ast.AST]:
    """The statements on which a claim depends, last first."""
    cells = {index: cell["source"] for index, cell in code_cells(notebook)}
    own = [
        call
        for call in claim_calls(cells[claim.cell])
        if isinstance(call.args[0], ast.Constant) and call.args[0].value == claim.number
    ]
    found: list[ast.AST] = [*own]
    wanted = {name for call in own for name in _read(call)}
    earlier: list[ast.stmt] = []
    for index, source in cells.items():
        if index <= claim.cell and (tree := python_tree(source)):
            earlier += [node for node in tree.body if not _holds_claim(node)]
    modules = {name for node in earlier for name in _imported(node)}
    for node in reversed(earlier):
        written = set(_written(node)) - modules
        if wanted & written:
            found.append(node)
            if isinstance(node, ast.Assign | ast.FunctionDef | ast.ClassDef):
                wanted -= set(_bound(node))  # what it held before does not matter
            wanted |= set(_read(node))
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    """Names that an import binds: calling ``torch.f`` does not change ``torch``."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield (alias.asname or alias.name).split(".")[0]


def _holds_claim(node: ast.AST) -> bool:
    return any(_name(call.func) == "claim" for call in _calls(node))


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (part for part in ast.walk(node) if isinstance(part, ast.Call))


def _name(node: ast.AST) -> str:
    """``f`` of ``f`` and of ``module.f``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _read(node: ast.AST) -> set[str]:
    """Names that a statement uses, without those of its functions and comprehensions."""
    names = {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }
    own: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef):
            own |= {name for line in part.body for name in _stored(line)}
        if isinstance(part, ast.comprehension):
            own |= set(_stored(part.target))
        if isinstance(part, ast.arg):
            own.add(part.arg)
    return names - own


def _stored(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _bound(node: ast.Assign | ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Names that hold something new after the statement, whatever they held before."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (part.id for part in parts if isinstance(part, ast.Name))
    else:
        yield node.name


def _written(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds, or whose object it changes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
        return
    yield from _stored(node)
    for part in ast.walk(node):
        if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
            yield from _read(part.value)
        if isinstance(part, ast.Call):
            if isinstance(part.func, ast.Attribute) and part.func.attr in CHANGERS:
                yield from _read(part.func.value)
            if _name(part.func) in TRAINERS:  # fit(net, ...) trains net
                for argument in part.args:
                    yield from _read(argument)
