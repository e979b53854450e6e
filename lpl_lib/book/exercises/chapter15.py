"""The coding exercise of chapter 15: BCE with a perturbation of each label's sides."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def perturbed_bce(
    logits: Tensor, targets: Tensor, delta_plus: Tensor, delta_minus: Tensor
) -> Tensor:
    """Return the mean over samples and labels of the loss of the moved logits."""
    moved = logits + torch.where(targets > 0, delta_plus, delta_minus)
    return F.binary_cross_entropy_with_logits(moved, targets)


def _sides_swapped(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    return perturbed_bce(u, t, minus, plus)


def _negatives_turned(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    return perturbed_bce(u, t, plus, -minus)


def _overflows(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    p = (u + plus).sigmoid()
    q = (u + minus).sigmoid()
    return -(t * p.log() + (1 - t) * (1 - q).log()).mean()


def _examples() -> list[tuple[Any, ...]]:
    label, one = torch.tensor([[1.0, 0.0]]), torch.ones(2)
    targets = (drawn(0, 6, 4) > 0.5).float()
    return [
        (torch.zeros(1, 2), label, -one, -2 * one),
        (drawn(1, 6, 4, scale=2.0), targets, drawn(2, 4), drawn(3, 4)),
        (torch.tensor([[-200.0, 200.0]]), label, -one, one),
    ]


check_perturbed_bce = Checker(
    perturbed_bce,
    _examples,
    {
        _sides_swapped: "The two sides are swapped.",
        _negatives_turned: "delta is added to the logits of negatives, too.",
        _overflows: "A sigmoid may become 0, and its logarithm infinite: use softplus.",
    },
)
