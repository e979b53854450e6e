"""The coding exercise of chapter 12: the class errors that bounds lead to."""

from __future__ import annotations

import math

from lpl_lib.book.exercises.checker import Checker

_Pair = tuple[float, float]


def errors(m: float, K: float, V: float, eps_plus: float, eps_minus: float) -> _Pair:  # noqa: N803
    """Return the class errors at the smallest perturbed risk; standard deviation 1."""
    return _at(
        m, K, (eps_plus - eps_minus) / 2 + _best(m - (eps_plus + eps_minus) / 2, K, V)
    )


def _best(m: float, k: float, v: float) -> float:
    spread = math.sqrt(m**2 + (k**2 - 1) / 2 * math.log(k * v))
    return ((k**2 + 1) * m - 2 * k * spread) / (k**2 - 1)


def _at(m: float, k: float, b: float, plus: float = 0.0, minus: float = 0.0) -> _Pair:
    up, down = -(m - plus + b) / k, -(m - minus - b)
    return math.erfc(-up / math.sqrt(2)) / 2, math.erfc(-down / math.sqrt(2)) / 2


def _measured_with_bounds(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    return _at(m, k, (plus - minus) / 2 + _best(m - (plus + minus) / 2, k, v), plus, minus)


def _without_halves(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    return _at(m, k, plus - minus + _best(m - (plus + minus), k, v))


def _shift_only(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    return _at(m, k, (plus - minus) / 2 + _best(m, k, v))


def _examples() -> list[tuple[float, ...]]:
    return [
        (2, 2, 1, 0, 0),
        (2, 2, 5, 0.5, -0.5),
        (1.5, 3, 1, 0.8, 0.2),
        (2, 1.5, 10, -0.3, -1),
    ]


check_errors = Checker(
    errors,
    _examples,
    {
        _measured_with_bounds: "The bounds act on training; errors are measured without.",
        _without_halves: "Half the difference shifts, and half the sum draws near.",
        _shift_only: "The mean of the bounds changes the distance inside b*.",
    },
)
