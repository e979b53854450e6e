"""The coding exercise of chapter 16: average precision of one label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of the precisions at the positives; no two scores are equal."""
    found, place = _ranked(scores, targets)
    return (found.cumsum(0) / place)[found > 0].mean()


def _ranked(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    found = targets[scores.argsort(descending=True)].double()
    return found, torch.arange(1, len(found) + 1)


def _ascending(scores: Tensor, targets: Tensor) -> Tensor:
    return precision(-scores, targets)


def _at_all(scores: Tensor, targets: Tensor) -> Tensor:
    found, place = _ranked(scores, targets)
    return (found.cumsum(0) / place).mean()


def _counted_from_zero(scores: Tensor, targets: Tensor) -> Tensor:
    found, place = _ranked(scores, targets)
    return (found.cumsum(0) / (place - 1).clamp(min=1))[found > 0].mean()


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([0.5, 3.0, 1.0, 2.0]), torch.tensor([0, 1, 1, 0]))
    some = [
        (drawn(seed, 20) - 0.5, (drawn(seed, 20) + drawn(seed + 10, 20) > 0.8).long())
        for seed in range(3)
    ]
    return [one, *some]


check_precision = Checker(
    precision,
    _examples,
    {
        _ascending: "Begin with the highest score.",
        _at_all: "Average at the places of the positives only.",
        _counted_from_zero: "The first image has the rank 1.",
    },
)
