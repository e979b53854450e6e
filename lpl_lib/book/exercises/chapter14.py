"""The coding exercise of chapter 14: the soft confusion matrix."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def confusion(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean probabilities of each class's samples, ``(C, C)``."""
    own = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return own.T @ logits.softmax(1) / own.sum(0)[:, None]


def _transposed(logits: Tensor, targets: Tensor) -> Tensor:
    return confusion(logits, targets).T


def _sums(logits: Tensor, targets: Tensor) -> Tensor:
    own = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return own.T @ logits.softmax(1)


def _wrong_side(logits: Tensor, targets: Tensor) -> Tensor:
    own = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return own.T @ logits.softmax(1) / own.sum(0)


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 0, 1]))
    some = [
        (drawn(seed, 9, 3, scale=2.0), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2]))
        for seed in range(3)
    ]
    return [one, *some]


check_confusion = Checker(
    confusion,
    _examples,
    {
        _transposed: "Rows are the samples' classes, columns what they are taken for.",
        _sums: "Means are asked for, not sums: each row sums to 1.",
        _wrong_side: "The counts divide columns; put them in a column to divide rows.",
    },
)
