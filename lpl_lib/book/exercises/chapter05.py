"""The coding exercise of chapter 5: the varied bounds of Eq. 13."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker


def bounds(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    """Return the bound of each class seen, and 0 for the others, ``(C,)``."""
    tau = confidence[seen].mean()
    return (epsilon + extra * (tau - confidence).abs()) * seen


def _with_sign(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    tau = confidence[seen].mean()
    return (epsilon + extra * (tau - confidence)) * seen


def _mean_of_all(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    return (epsilon + extra * (confidence.mean() - confidence).abs()) * seen


def _absent_too(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    return epsilon + extra * (confidence[seen].mean() - confidence).abs()


def _squared(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    tau = confidence[seen].mean()
    return (epsilon + extra * (tau - confidence) ** 2) * seen


def _without_epsilon(
    confidence: Tensor, seen: Tensor, epsilon: float, extra: float
) -> Tensor:
    return bounds(confidence, seen, 0.0, extra)


def _all_scaled(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    tau = confidence[seen].mean()
    return (epsilon + extra) * (tau - confidence).abs() * seen


def _examples() -> list[tuple[Any, ...]]:
    return [
        (torch.tensor([0.9, 0.5]), torch.tensor([True, True]), 0.1, 1.0),
        (
            torch.tensor([0.95, 0.2, 0.0, 0.7]),
            torch.tensor([True, True, False, True]),
            0.5,
            2.0,
        ),
        (
            torch.tensor([0.99, 0.0, 0.98, 0.97, 0.0]),
            torch.tensor([True, False, True, True, False]),
            0.0,
            4.0,
        ),
    ]


check_bounds = Checker(
    bounds,
    _examples,
    {
        _with_sign: "A bound is a length: take the absolute value.",
        _mean_of_all: (
            "The threshold is the mean over the classes seen; an absent class has no "
            "confidence."
        ),
        _absent_too: "A class without samples has nothing to be moved: bound 0.",
        _squared: "Eq. 13 has the distance from the threshold, not its square.",
        _without_epsilon: "Each class seen has epsilon, also at the threshold.",
        _all_scaled: "Only the extra part grows with the distance.",
    },
)
