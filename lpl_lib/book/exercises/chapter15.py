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


def _positives_turned(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    return perturbed_bce(u, t, -plus, minus)


def _sum(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    return perturbed_bce(u, t, plus, minus) * u.numel()


def _sum_of_labels(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    return perturbed_bce(u, t, plus, minus) * u.shape[1]


def _overflows(u: Tensor, t: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
    p = (u + plus).sigmoid()
    q = (u + minus).sigmoid()
    return -(t * p.log() + (1 - t) * (1 - q).log()).mean()


def _examples() -> list[tuple[Any, ...]]:
    one = (
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([-1.0, -1.0]),
        torch.tensor([-2.0, -2.0]),
    )
    some = [
        (
            drawn(seed, 6, 4, scale=2.0),
            (drawn(seed + 10, 6, 4) > 0.5).float(),
            drawn(seed + 20, 4),
            drawn(seed + 30, 4),
        )
        for seed in range(3)
    ]
    large = (
        torch.tensor([[-200.0, 200.0]]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([-1.0, -1.0]),
        torch.tensor([1.0, 1.0]),
    )
    return [one, *some, large]


check_perturbed_bce = Checker(
    perturbed_bce,
    _examples,
    {
        _sides_swapped: "The two sides are swapped.",
        _negatives_turned: "delta is added to the logits of negatives, too.",
        _positives_turned: "delta is added to the logits of positives.",
        _sum: "The mean over samples and labels is asked for, not the sum.",
        _sum_of_labels: "The mean runs over the labels, too.",
        _overflows: (
            "The logarithm of a sigmoid that has become 0 is not finite: use softplus or "
            "logsigmoid."
        ),
    },
)
