"""The coding exercise of chapter 17: a prior in the order of the classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lpl_lib.book.exercises.checker import Checker


def prior(counts: dict[str, int]) -> list[float]:
    """Return the share of class 0, 1, ..., whatever the order of the dictionary."""
    return _shares(counts, sorted(counts, key=int))


def _shares(counts: dict[str, int], names: Iterable[str]) -> list[float]:
    return [counts[name] / sum(counts.values()) for name in names]


def _as_strings(counts: dict[str, int]) -> list[float]:
    return _shares(counts, sorted(counts))


def _as_given(counts: dict[str, int]) -> list[float]:
    return _shares(counts, counts)


def _by_count(counts: dict[str, int]) -> list[float]:
    return sorted(_shares(counts, counts), reverse=True)


def _counts(counts: dict[str, int]) -> list[float]:
    return [counts[name] for name in sorted(counts, key=int)]


def _by_the_largest(counts: dict[str, int]) -> list[float]:
    return [counts[name] / max(counts.values()) for name in sorted(counts, key=int)]


def _examples() -> list[tuple[Any, ...]]:
    orders = ([1, 0, 2], [*range(11, -1, -1)], [*range(0, 30, 2), *range(1, 30, 2)])
    return [({str(c): 3 + (7 * c) % len(order) for c in order},) for order in orders]


check_prior = Checker(
    prior,
    _examples,
    {
        _as_strings: 'As strings, "10" comes before "2".',
        _as_given: "The dictionary keeps the order in which it was filled.",
        _by_count: "Class c belongs at place c, whether frequent or not.",
        _counts: "Shares are asked for: they sum to 1.",
        _by_the_largest: "Divide by the sum of the counts, not by the largest.",
    },
)
