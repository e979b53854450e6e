"""The coding exercise of chapter 3: the signs of the split by confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def signs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return +1 for classes behind, -1 for the others, 0 for absent ones, ``(C,)``."""
    q, seen = _confidence(logits, targets)
    return torch.where(q < q[seen].mean(), 1.0, -1.0) * seen


def _confidence(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    own = logits.softmax(1).gather(1, targets[:, None])[:, 0]
    total = own.new_zeros(logits.shape[1]).index_add(0, targets, own)
    number = torch.bincount(targets, minlength=logits.shape[1])
    return total / number.clamp(min=1), number > 0


def _absent_as_zero(logits: Tensor, targets: Tensor) -> Tensor:
    q, seen = _confidence(logits, targets)
    return torch.where(q < q.mean(), 1.0, -1.0) * seen


def _mean_of_samples(logits: Tensor, targets: Tensor) -> Tensor:
    q, seen = _confidence(logits, targets)
    return torch.where(q < q[targets].mean(), 1.0, -1.0) * seen


FOUR_OF_SIX = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 4, 4])
check_signs = Checker(
    signs,
    lambda: [
        (torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])),
        *((drawn(seed, 12, 6, scale=2.0), FOUR_OF_SIX) for seed in range(6)),
    ],
    {
        _absent_as_zero: "An absent class has no confidence, not the confidence zero.",
        _mean_of_samples: "The threshold is a mean over classes, not over samples.",
    },
)
