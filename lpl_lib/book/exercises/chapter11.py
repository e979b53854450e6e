"""The coding exercise of chapter 11: how much small noise raises the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def rise(logits: Tensor, weight: Tensor, covariance: Tensor) -> Tensor:
    """Return half the variance of the moved logits under the probabilities, ``(B,)``."""
    return _half_variance(logits.softmax(1), weight @ covariance @ weight.T)


def _half_variance(p: Tensor, moved: Tensor) -> Tensor:
    return 0.5 * (p @ moved.diagonal() - torch.einsum("bc,cd,bd->b", p, moved, p))


def _whole(logits: Tensor, weight: Tensor, covariance: Tensor) -> Tensor:
    return 2 * rise(logits, weight, covariance)


def _diagonal_only(logits: Tensor, weight: Tensor, covariance: Tensor) -> Tensor:
    moved = weight @ covariance @ weight.T
    return 0.5 * logits.softmax(1) @ moved.diagonal()


def _over_samples(logits: Tensor, weight: Tensor, covariance: Tensor) -> Tensor:
    return _half_variance(logits.softmax(0), weight @ covariance @ weight.T)


def _examples() -> list[tuple[Any, ...]]:
    one = (
        torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 0.0], [2.0, 1.0]]),
        torch.tensor([[1.0, 0.5], [0.5, 1.0]]),
    )
    some = []
    for seed in range(3):
        root = drawn(seed, 5, 5)
        some.append((drawn(seed + 10, 6, 4), drawn(seed + 20, 4, 5), root @ root.T / 5))
    return [one, *some]


check_rise = Checker(
    rise,
    _examples,
    {
        _whole: "The factor one half is missing.",
        _diagonal_only: (
            "H has two parts; diag(p) alone is a mean of squares, not yet a variance."
        ),
        _over_samples: "The softmax runs over the samples, dim 0; the classes are dim 1.",
    },
)
