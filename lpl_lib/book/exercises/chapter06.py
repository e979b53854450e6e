"""The coding exercise of chapter 6: balanced accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def balanced(logits: Tensor, targets: Tensor) -> float:
    """Return the mean accuracy over the classes that occur, in [0, 1]."""
    return _by(targets, logits, targets)


def _by(group: Tensor, logits: Tensor, targets: Tensor) -> float:
    right = (logits.argmax(1) == targets).double()
    shares = [float(right[group == c].mean()) for c in group.unique()]
    return sum(shares) / len(shares)


def _plain(logits: Tensor, targets: Tensor) -> float:
    return _by(torch.zeros_like(targets), logits, targets)


def _precision(logits: Tensor, targets: Tensor) -> float:
    return _by(logits.argmax(1), logits, targets)


def _absent_as_zero(logits: Tensor, targets: Tensor) -> float:
    return balanced(logits, targets) * len(targets.unique()) / logits.shape[1]


UNEVEN = torch.tensor([0] * 10 + [1] * 5 + [2] * 4 + [4])
check_balanced = Checker(
    balanced,
    lambda: [
        (torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])),
        *((drawn(seed, 20, 5), UNEVEN) for seed in range(4)),
    ],
    {
        _plain: "That counts samples alike; count classes alike.",
        _precision: "Group the samples by their label, not by the decision.",
        _absent_as_zero: "A class without test samples has no accuracy: leave it out.",
    },
)
