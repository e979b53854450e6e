"""The coding exercise of chapter 5: the varied bounds of Eq. 13."""

from __future__ import annotations

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


YES, NO = True, False
check_bounds = Checker(
    bounds,
    lambda: [
        (torch.tensor([0.9, 0.5]), torch.tensor([YES, YES]), 0.1, 1.0),
        (torch.tensor([0.95, 0.2, 0.0]), torch.tensor([YES, YES, NO]), 0.5, 2.0),
        (torch.tensor([0.99, 0.0, 0.98]), torch.tensor([YES, NO, YES]), 0.0, 4.0),
    ],
    {
        _with_sign: "A bound is a length: take the absolute value.",
        _mean_of_all: "The threshold is the mean over the classes seen.",
        _absent_too: "A class without samples has nothing to be moved: bound 0.",
    },
)
