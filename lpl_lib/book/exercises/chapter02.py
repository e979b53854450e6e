"""The coding exercise of chapter 2: the loss of LDAM, from the counts."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn, labels


def ldam_loss(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    """Return the mean loss with the own logits lowered by LDAM's margins."""
    return _with_margins(logits, targets, _margins(counts, max_margin))


def _margins(counts: Tensor, max_margin: float, power: float = -0.25) -> Tensor:
    return max_margin * (counts / counts.min()) ** power


def _with_margins(logits: Tensor, targets: Tensor, margins: Tensor) -> Tensor:
    own = F.one_hot(targets, logits.shape[1])
    return F.cross_entropy(logits - own * margins, targets)


def _from_all(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    return F.cross_entropy(logits, targets)


def _raised(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    return _with_margins(logits, targets, -_margins(counts, max_margin))


def _square_root(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    return _with_margins(u, y, _margins(counts, m, -0.5))


def _frequent_first(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    margins = m * (counts / counts.max()) ** 0.25
    return _with_margins(u, y, margins)


def _not_scaled(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    return _with_margins(u, y, m * counts**-0.25)


def _own_class_of_each_column(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    return F.cross_entropy(u - _margins(counts, m), y)


def _of_the_prediction(u: Tensor, y: Tensor, counts: Tensor, m: float) -> Tensor:
    largest = F.one_hot(u.argmax(1), u.shape[1])
    moved = u - largest * _margins(counts, m)
    return F.cross_entropy(moved, y)


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor([16.0, 1.0]), 0.5)
    some = [
        (
            drawn(seed, 8, 4),
            labels(seed, 8, 4),
            torch.tensor([500.0, 100.0, 20.0, 4.0]),
            0.5 + seed,
        )
        for seed in range(3)
    ]
    return [one, *some]


check_ldam_loss = Checker(
    ldam_loss,
    _examples,
    {
        _from_all: "Nothing has changed. A number that is subtracted from all logits of a "
        "sample does nothing.",
        _raised: "The margin makes the task harder: the own logit is lowered.",
        _square_root: "The exponent is that of a fourth root.",
        _frequent_first: "The rarest class has the largest margin.",
        _not_scaled: "The rarest class has the margin max_margin itself.",
        _own_class_of_each_column: (
            "Only the own logit is lowered; you lower each logit by its class's margin."
        ),
        _of_the_prediction: "The margin belongs to the label, not to the argmax.",
    },
)
