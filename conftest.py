"""Names that the library's doctests use without importing them; marks of tests; and who
runs what where workers share the tests."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest
import torch

# what a test needs says what it is: `make quick` leaves all of these to `make test`
OF_FIXTURES = {"site": "browser", "browser": "browser", "built": "process"}
STARTERS = {"subprocess", "multiprocessing", "spawn"}
# files whose tests share a fixture that takes long to make
TOGETHER = ("tests/test_package.py", "tests/test_slides.py")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """A test draws the same numbers whatever ran before it."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by what they use; what is slow comes first, so that no worker ends
    with it."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        names = {OF_FIXTURES[name] for name in fixtures & set(OF_FIXTURES)}
        if item.path.suffix == ".ipynb":
            names.add("chapter")
        if _starts_a_process(getattr(item, "function", None)):
            names.add("process")
        for name in names:
            item.add_marker(name)
    items.sort(key=_is_quick)


def _is_quick(item: pytest.Item) -> bool:
    long = item.get_closest_marker("slow") or item.get_closest_marker("process")
    return not (long or item.path.suffix == ".ipynb")


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Workers take a whole chapter, a file of ``TOGETHER``, or all cases of one test; the
    largest first. (pytest-xdist's own groups have no effect with pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            whole = path.endswith(".ipynb") or path in TOGETHER
            return path if whole else nodeid.partition("[")[0]

    return Sharing(config, log)
