"""The coding exercise of chapter 6: balanced accuracy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def balanced(logits: Tensor, targets: Tensor) -> float:
    """Return the mean accuracy over the classes that occur, in [0, 1]."""
    right = logits.argmax(1) == targets
    return _mean([right[targets == c] for c in targets.unique()])


def _mean(groups: list[Tensor]) -> float:
    return sum(float(g.double().mean()) for g in groups) / len(groups)


def _plain(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(1) == targets).double().mean())


def _precision(logits: Tensor, targets: Tensor) -> float:
    decided = logits.argmax(1)
    right = decided == targets
    return _mean([right[decided == c] for c in decided.unique()])


def _absent_as_zero(logits: Tensor, targets: Tensor) -> float:
    return balanced(logits, targets) * len(targets.unique()) / logits.shape[1]


def _over_samples(logits: Tensor, targets: Tensor) -> float:
    return balanced(logits.softmax(0), targets)


def _percent(logits: Tensor, targets: Tensor) -> float:
    return 100 * balanced(logits, targets)


def _examples() -> list[tuple[Any, ...]]:
    always = (torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    some = [
        (drawn(seed, 20, 5), torch.tensor([0] * 10 + [1] * 5 + [2] * 4 + [4]))
        for seed in range(4)
    ]
    return [always, *some]


check_balanced = Checker(
    balanced,
    _examples,
    {
        _plain: "That counts samples alike; count classes alike.",
        _precision: (
            "Group the samples by their label, not by the decision: that was precision."
        ),
        _absent_as_zero: "A class without test samples has no accuracy: leave it out.",
        _over_samples: "The softmax runs over the samples; for decisions none is needed.",
        _percent: "A share in [0, 1] is asked for, not percent.",
    },
)
