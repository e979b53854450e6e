"""The coding exercise of chapter 3: the signs of the split by confidence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def signs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return +1 for classes behind, -1 for the others, 0 for absent ones, ``(C,)``."""
    q, seen = _confidence(logits.softmax(1), targets)
    return _below(q, q[seen].mean(), seen)


def _confidence(p: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    own = p.gather(1, targets[:, None])[:, 0]
    total = own.new_zeros(p.shape[1]).index_add(0, targets, own)
    number = torch.bincount(targets, minlength=p.shape[1])
    return total / number.clamp(min=1), number > 0


def _below(q: Tensor, tau: Tensor, seen: Tensor) -> Tensor:
    return torch.where(q < tau, 1.0, -1.0) * seen


def _absent_as_zero(logits: Tensor, targets: Tensor) -> Tensor:
    q, seen = _confidence(logits.softmax(1), targets)
    return _below(q, q.mean(), seen)


def _absent_as_behind(logits: Tensor, targets: Tensor) -> Tensor:
    q, seen = _confidence(logits.softmax(1), targets)
    return _below(q, q[seen].mean(), torch.ones_like(seen))


def _mean_of_samples(logits: Tensor, targets: Tensor) -> Tensor:
    p = logits.softmax(1)
    q, seen = _confidence(p, targets)
    return _below(q, p.gather(1, targets[:, None]).mean(), seen)


def _turned(logits: Tensor, targets: Tensor) -> Tensor:
    return -signs(logits, targets)


def _largest(logits: Tensor, targets: Tensor) -> Tensor:
    p = logits.softmax(1)
    _, seen = _confidence(p, targets)
    q, _ = _confidence(p.max(1, keepdim=True).values.expand_as(p), targets)
    return _below(q, q[seen].mean(), seen)


def _over_samples(logits: Tensor, targets: Tensor) -> Tensor:
    q, seen = _confidence(logits.softmax(0), targets)
    return _below(q, q[seen].mean(), seen)


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1]))
    # many samples of a class that is ahead, so that samples and classes differ
    uneven = (
        torch.tensor(
            [[3.0, 0.0, 0.0, 0.0]] * 4 + [[0.0, 2.0, 0.0, 0.0]] + [[1.0, 0.0, 0.0, 0.0]]
        ),
        torch.tensor([0, 0, 0, 0, 1, 2]),
    )
    some = [
        (drawn(seed, 12, 6, scale=2.0), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 4, 4]))
        for seed in range(4)
    ]
    return [one, uneven, *some]


check_signs = Checker(
    signs,
    _examples,
    {
        _absent_as_zero: (
            "The threshold is the mean over the classes seen; an absent class has no "
            "confidence, not the confidence zero."
        ),
        _absent_as_behind: "An absent class is not behind: its sign is 0.",
        _mean_of_samples: (
            "The threshold is the mean over classes, however many samples each has."
        ),
        _turned: "The classes behind are raised: their sign is +1.",
        _largest: "Confidence is the probability of the own class, not the largest.",
        _over_samples: "The softmax runs over the samples, dim 0; the classes are dim 1.",
    },
)
