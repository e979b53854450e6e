"""The coding exercise of chapter 2: the loss of LDAM, from the counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn, labels


def ldam_loss(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    """Return the mean loss with the own logits lowered by LDAM's margins."""
    own = F.one_hot(targets, logits.shape[1])
    return F.cross_entropy(logits - own * _margins(counts, max_margin), targets)


def _margins(counts: Tensor, max_margin: float) -> Tensor:
    return max_margin * (counts / counts.min()) ** -0.25


def _from_all(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    return F.cross_entropy(logits, targets)


def _raised(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    return ldam_loss(logits, targets, counts, -max_margin)


def _each_column(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    return F.cross_entropy(u - _margins(counts, m), y)


COUNTS = torch.tensor([500.0, 100.0, 20.0, 4.0])
check_ldam_loss = Checker(
    ldam_loss,
    lambda: [
        (torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor([16.0, 1.0]), 0.5),
        *((drawn(k, 8, 4), labels(k, 8, 4), COUNTS, 0.5 + k) for k in range(3)),
    ],
    {
        _from_all: "Subtracting one number from all logits of a sample does nothing.",
        _raised: "The margin makes the task harder: the own logit is lowered.",
        _each_column: "Only the own logit is lowered, not each by its class's margin.",
    },
)
