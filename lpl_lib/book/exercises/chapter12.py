"""The coding exercise of chapter 12: the class errors that bounds lead to."""

from __future__ import annotations

import math
from typing import Any

from lpl_lib.book.exercises.checker import Checker

_Pair = tuple[float, float]


def errors(m: float, K: float, V: float, eps_plus: float, eps_minus: float) -> _Pair:  # noqa: N803
    """Return the class errors at the smallest perturbed risk; standard deviation 1."""
    shift = (eps_plus - eps_minus) / 2
    return _at(m, K, shift + _best(m - (eps_plus + eps_minus) / 2, K, V))


def _best(m: float, k: float, v: float, root: float = -1.0) -> float:
    spread = math.sqrt(m**2 + (k**2 - 1) / 2 * math.log(k * v))
    return ((k**2 + 1) * m + root * 2 * k * spread) / (k**2 - 1)


def _at(m: float, k: float, b: float) -> tuple[float, float]:
    return _below(-(m + b) / k), _below(-(m - b))


def _below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _measured_with_bounds(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    shift = (plus - minus) / 2
    b = shift + _best(m - (plus + minus) / 2, k, v)
    return _below(-(m - plus + b) / k), _below(-(m - minus - b))


def _without_halves(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    b = plus - minus + _best(m - (plus + minus), k, v)
    return _at(m, k, b)


def _other_root(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    shift = (plus - minus) / 2
    return _at(m, k, shift + _best(m - (plus + minus) / 2, k, v, 1.0))


def _shift_only(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    return _at(m, k, (plus - minus) / 2 + _best(m, k, v))


def _turned(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    shift = (minus - plus) / 2
    return _at(m, k, shift + _best(m - (plus + minus) / 2, k, v))


def _equal_spreads(m: float, k: float, v: float, plus: float, minus: float) -> _Pair:
    shift = (plus - minus) / 2
    b = shift + _best(m - (plus + minus) / 2, k, v)
    return _below(-(m + b)), _below(-(m - b))


def _examples() -> list[tuple[Any, ...]]:
    return [
        (2.0, 2.0, 1.0, 0.0, 0.0),
        (2.0, 2.0, 5.0, 0.5, -0.5),
        (1.5, 3.0, 1.0, 0.8, 0.2),
        (2.0, 1.5, 10.0, -0.3, -1.0),
    ]


check_errors = Checker(
    errors,
    _examples,
    {
        _measured_with_bounds: "The bounds act on training; errors are measured without.",
        _without_halves: "Half the difference shifts, and half the sum draws near.",
        _other_root: "Of the two stationary points the smaller is the minimum.",
        _shift_only: "The mean of the bounds changes the distance inside b*.",
        _turned: "A positive bound of class + moves the boundary in its favour.",
        _equal_spreads: "Class + has the standard deviation K.",
    },
)
