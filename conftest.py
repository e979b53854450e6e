"""Names that the library's doctests use without importing them; marks, and who runs with
whom where two workers share the tests."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType

import pytest
import torch

# what a test needs says what it is: `make quick` leaves all of these to `make test`
OF_FIXTURES = {"site": "browser", "browser": "browser", "built": "process"}
STARTERS = {"subprocess", "multiprocessing", "spawn"}
SHARED = {"module", "class"}  # a fixture of this scope would be made by both workers


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by what they use; keep together what shares a fixture or a kernel.

    Whole chapters come first, then what is slow, so that no worker ends with one of them.
    """
    for item in items:
        chapter = item.path.suffix == ".ipynb"
        fixtures = set(getattr(item, "fixturenames", ()))
        names = {OF_FIXTURES[name] for name in fixtures & set(OF_FIXTURES)}
        if chapter:
            names.add("chapter")
        if _starts_a_process(getattr(item, "function", None)):
            names.add("process")
        for name in names:
            item.add_marker(name)
        if chapter or _shares(item, fixtures):
            item.add_marker(pytest.mark.xdist_group(Path(item.path).stem))
    items.sort(key=_rank)


def _starts_a_process(function: object, helper: bool = False) -> bool:
    """Does the code of a test, or of a helper that it calls, start another process?"""
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, FunctionType):
        return False
    names = set(function.__code__.co_names)
    if helper or names & STARTERS:
        return bool(names & STARTERS)
    called = [function.__globals__.get(name) for name in names]
    own = [f for f in called if getattr(f, "__module__", None) == function.__module__]
    return any(_starts_a_process(f, helper=True) for f in own)


def _shares(item: pytest.Item, fixtures: set[str]) -> bool:
    found = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return any(found[name][-1].scope in SHARED for name in fixtures & set(found))


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker("chapter"):
        return 0
    if item.get_closest_marker("xdist_group"):
        return 2  # in the order of the file: its fixture is made once
    return 1 if item.get_closest_marker("slow") or item.get_closest_marker("process") else 2
