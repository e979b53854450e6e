"""Exercises: their grades, and the coding exercises with stub, solution and checker.

A solution passes its checker; its stub, and every answer that is typically wrong, does
not. A stub is its solution without the bodies, so that the two cannot drift apart.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from augmentation_theory import noise_rise
from torch import nn

import lpl_lib.book.exercises
from lpl_lib import ConfidenceBound
from lpl_lib.book.exercises.checker import Checker
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.multilabel import BCELoss
from tools.bookfiles import (
    ROOT,
    Notebook,
    chapters,
    code_cells,
    read_notebook,
    stdout,
    tags,
)
from tools.exercises import solutions, stub, stubs, write_stubs

KINDS = ("Check", "Derive", "Code", "Explore")
HEADING = re.compile(rf"(?:{'|'.join(KINDS)}) ★{{1,3}}")
FENCE = re.compile(r"^:::+\{exercise(?:-start)?\}(.*)$", re.MULTILINE)
CODING = [
    (path, label) for path in chapters() for label in solutions(read_notebook(path))
]  # all coding exercises


def checkers() -> dict[str, Checker]:
    """The checkers of the library by module and name."""
    found = {}
    for info in pkgutil.iter_modules(lpl_lib.book.exercises.__path__):
        module = importlib.import_module(f"lpl_lib.book.exercises.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, Checker):
                found[f"{info.name}.{name}"] = value
    return found


CHECKERS = checkers()
MISTAKES = [
    pytest.param(checker, *mistake, id=f"{name}-{number}")
    for name, checker in CHECKERS.items()
    for number, mistake in enumerate(checker.mistakes.items())
]


def imports(notebook: Notebook) -> str:
    """The import statements at the beginning of a chapter, after the set-up cell."""
    first = next(cell for index, cell in code_cells(notebook) if index > 1)
    tree = ast.parse(first["source"])
    found = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, found))


def printed(source: str, beforehand: str) -> str:
    """What a cell prints when a chapter's imports are there and nothing else is."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        names: dict[str, object] = {}
        exec(beforehand, names)
        exec(source, names)
    assert err.getvalue() == ""
    return out.getvalue()


# --- the chapters' exercises ------------------------------------------------------


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_has_exercises_of_all_kinds_with_grades(path: Path) -> None:
    cells = read_notebook(path)["cells"]
    prose = "\n\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    headings = [heading.strip() for heading in FENCE.findall(prose)]
    assert len(headings) >= 4
    assert [heading for heading in headings if not HEADING.fullmatch(heading)] == []
    assert {heading.split()[0] for heading in headings} == set(KINDS)


def test_there_are_enough_coding_exercises() -> None:
    assert len(CODING) >= 14
    assert len({path for path, _ in CODING}) >= 10


@pytest.mark.parametrize(("path", "label"), CODING, ids=[label for _, label in CODING])
def test_solution_and_stub(path: Path, label: str) -> None:
    notebook = read_notebook(path)
    solution, empty = solutions(notebook)[label], stubs(notebook)[label]
    assert empty["source"] == stub(solution["source"]), "run python -m tools.exercises"
    assert ": right, on " in stdout(solution)
    assert ": not yet. It returns nothing" in stdout(empty)
    for cell in (solution, empty):
        assert tags(cell) == ["nbval-check-output"]
        assert printed(cell["source"], imports(notebook)) == stdout(cell)
    prose = [c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert any(f":label: {label}\n" in text for text in prose)


def test_every_checker_is_used_by_its_chapter() -> None:
    used = set()
    for path, label in CODING:
        number = re.match(r"\d+[a-z]?", path.name)
        assert number
        source = solutions(read_notebook(path))[label]["source"]
        module = re.search(r"from lpl_lib\.book\.exercises\.(\w+) import (\w+)", source)
        assert module, f"{label} imports no checker"
        assert module.group(1) == f"chapter{number.group()}"
        used.add(".".join(module.groups()))
    assert used == set(CHECKERS)


# --- the checkers -----------------------------------------------------------------


@pytest.mark.parametrize("checker", CHECKERS.values(), ids=CHECKERS)
def test_the_reference_is_right_and_a_broken_one_is_not(checker: Checker) -> None:
    assert checker.verdict(checker.reference).startswith("right, on ")
    assert len(checker.mistakes) >= 2

    def raises(*_: object) -> None:
        raise KeyError("oh")

    def slightly_off(*arguments: object) -> object:
        return torch.as_tensor(checker.reference(*arguments)) * 1.01 + 0.01

    assert "raised KeyError: 'oh'" in checker.verdict(raises)
    assert "returns nothing" in checker.verdict(lambda *_: None)
    assert checker.verdict(lambda *_: "x").startswith("not yet. ")
    assert checker.verdict(slightly_off).startswith("not yet. ")
    assert checker.verdict(None).startswith("not yet. Hand over")  # type: ignore[arg-type]


@pytest.mark.parametrize(("checker", "hint", "mistake"), MISTAKES)
def test_a_typical_mistake_is_seen_and_named(
    checker: Checker, hint: str, mistake: Callable[..., Any]
) -> None:
    verdict = checker.verdict(mistake)
    assert verdict.startswith("not yet. ")
    assert verdict.endswith(f"A guess: {hint}")


def library_bounds(
    confidence: torch.Tensor, seen: torch.Tensor, epsilon: float, extra: float
) -> torch.Tensor:
    statistics = ClassStatistics(confidence, seen)
    return ConfidenceBound(epsilon, extra)(statistics, torch.ones(len(seen))) * seen


def library_mixture(
    net: nn.Module,
    criterion: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    lam: float,
) -> torch.Tensor:
    one_hot = F.one_hot(labels, 4).float()
    targets = lam * one_hot + (1 - lam) * one_hot.flip(0)
    return criterion(net(lam * images + (1 - lam) * images.flip(0)), targets)


LIBRARY: dict[str, Callable[..., Any]] = {
    "chapter05.check_bounds": library_bounds,
    "chapter07.check_mixed_loss": library_mixture,
    "chapter11.check_rise": noise_rise,
    "chapter15.check_perturbed_bce": lambda u, t, plus, minus: BCELoss()(
        u + torch.where(t > 0, plus, minus), t
    ),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_passes_a_checker_that_does_not_ask_it(name: str) -> None:
    assert CHECKERS[name].verdict(LIBRARY[name]).startswith("right, on ")


def examples(x: float = 1.0) -> Iterator[tuple[object]]:
    yield (torch.tensor([x, 2.0]),)
    yield (torch.tensor([float(n) for n in range(40)]),)


def total(values: torch.Tensor) -> torch.Tensor:
    return values.sum()


TOTAL = Checker("total", total, list(examples()), {})


def test_an_argument_that_is_changed_is_found_out() -> None:
    assert "changes its argument values" in TOTAL.verdict(lambda v: v.mul_(2).sum() / 2)


def test_another_shape_or_kind_is_named() -> None:
    assert "shape (1,), and one number is" in TOTAL.verdict(lambda v: v.sum()[None])
    assert "it gave a set, not numbers" in TOTAL.verdict(lambda v: {"a"})
    assert "ellipsis" in TOTAL.verdict(lambda v: ...)


def test_long_arguments_are_shown_as_their_shape() -> None:
    verdict = TOTAL.verdict(lambda v: v.sum() if len(v) == 2 else 0.0)
    assert "values = a tensor of shape (40,)" in verdict
    assert "it gave 0, and 780 is right" in verdict


def test_of_long_results_the_first_difference_is_shown() -> None:
    checker = Checker("double", lambda values: 2 * values, list(examples())[1:], {})
    assert "at place [1] it gave 1, and 2 is right" in checker.verdict(lambda v: v)


def test_nan_and_infinity_are_not_right() -> None:
    assert "it gave nan" in TOTAL.verdict(lambda v: float("nan"))
    assert "it gave inf" in TOTAL.verdict(lambda v: float("inf"))


def test_results_may_carry_gradients_and_be_of_any_precision() -> None:
    assert TOTAL.verdict(lambda v: v.requires_grad_().sum()).startswith("right")
    assert TOTAL.verdict(lambda v: v.double().sum().item()).startswith("right")


# --- the stubs --------------------------------------------------------------------

CLASS = '''\
import torch


class Both:
    """Two methods."""

    def one(self, x):
        """One."""
        # a comment goes too
        return x

    def two(self):
        """Two
        lines."""
        def inner():
            return 1
        return inner()


check(Both)'''
EMPTY = '''\
import torch


class Both:
    """Two methods."""

    def one(self, x):
        """One."""
        ...

    def two(self):
        """Two
        lines."""
        ...


check(Both)'''


def test_a_stub_has_signatures_docstrings_and_the_rest() -> None:
    assert stub(CLASS) == EMPTY
    assert stub(EMPTY) == EMPTY


def test_a_function_without_docstring_makes_no_stub() -> None:
    with pytest.raises(ValueError, match="one has no docstring"):
        stub("def one():\n    return 1")


def test_the_stub_is_put_in_front_of_the_solution(tmp_path: Path) -> None:
    path, label = CODING[0]
    copied = tmp_path / path.name
    text = path.read_text(encoding="utf-8")
    copied.write_text(text.replace("...", "pass  # ?"), encoding="utf-8")
    assert write_stubs(copied)
    made = read_notebook(copied)
    names = [cell["id"] for cell in made["cells"]]
    assert names == [cell["id"] for cell in read_notebook(path)["cells"]]
    assert stubs(made)[label]["source"] == stub(solutions(made)[label]["source"])
    assert stubs(made)[label]["outputs"] == []
    assert not write_stubs(copied)


def test_the_library_does_not_load_its_checkers() -> None:
    text = (ROOT / "lpl_lib" / "__init__.py").read_text(encoding="utf-8")
    assert "exercises" not in text
