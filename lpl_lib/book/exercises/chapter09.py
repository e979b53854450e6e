"""The coding exercise of chapter 9: the interval of a paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def paired_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return mean and half-width of the 95% interval of a - b, by Student's t."""
    d = _difference(a, b)
    return float(d.mean()), float(_quantile(len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5)


def _difference(a: Sequence[float], b: Sequence[float]) -> np.ndarray[Any, Any]:
    return np.subtract(a, b)


def _quantile(freedom: int) -> float:
    from scipy import stats  # here, not above: it is slow to import

    return float(stats.t.ppf(0.975, freedom))


def _unpaired(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    variance = np.var(a, ddof=1) + np.var(b, ddof=1)
    half = _quantile(2 * len(a) - 2) * (variance / len(a)) ** 0.5
    return float(np.mean(a) - np.mean(b)), float(half)


def _normal(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    d = _difference(a, b)
    return float(d.mean()), float(1.959964 * d.std(ddof=1) / len(d) ** 0.5)


def _examples() -> list[tuple[Any, ...]]:
    few = ([71.0, 74.0, 69.5], [70.0, 72.5, 69.0])
    some = []
    for seed, number in enumerate((5, 10, 20)):
        shared = 70 + drawn(seed, number, scale=3.0)
        a, b = shared + drawn(seed + 10, number), shared + drawn(seed + 20, number)
        some.append((a.tolist(), b.tolist()))
    return [few, *some]


check_paired_interval = Checker(
    paired_interval,
    _examples,
    {
        _unpaired: "Take the differences first: the seeds are shared.",
        _normal: "With few seeds the quantile is Student's, not the normal one.",
    },
)
