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


def _square_root(
    logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float
) -> Tensor:
    return _with_margins(logits, targets, _margins(counts, max_margin, -0.5))


def _frequent_first(
    logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float
) -> Tensor:
    margins = max_margin * (counts / counts.max()) ** 0.25
    return _with_margins(logits, targets, margins)


def _not_scaled(
    logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float
) -> Tensor:
    return _with_margins(logits, targets, max_margin * counts**-0.25)


def _own_class_of_each_column(
    logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float
) -> Tensor:
    return F.cross_entropy(logits - _margins(counts, max_margin), targets)


def _of_the_prediction(
    logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float
) -> Tensor:
    largest = F.one_hot(logits.argmax(1), logits.shape[1])
    moved = logits - largest * _margins(counts, max_margin)
    return F.cross_entropy(moved, targets)


def _examples() -> list[dict[str, Any]]:
    one = {
        "logits": torch.tensor([[1.0, 0.0]]),
        "targets": torch.tensor([1]),
        "counts": torch.tensor([16.0, 1.0]),
        "max_margin": 0.5,
    }
    some = [
        {
            "logits": drawn(seed, 8, 4),
            "targets": labels(seed, 8, 4),
            "counts": torch.tensor([500.0, 100.0, 20.0, 4.0]),
            "max_margin": 0.5 + seed,
        }
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
