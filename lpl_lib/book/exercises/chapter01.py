"""The coding exercise of chapter 1: the loss variation of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn, labels


def variation(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return :math:`\Delta\ell` of each sample, ``(B,)``, for logits of any size."""
    own = delta.gather(1, targets[:, None])
    return (logits.log_softmax(1) + delta - own).logsumexp(1)


def _own(delta: Tensor, targets: Tensor) -> Tensor:
    return delta.gather(1, targets[:, None])


def _turned(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return -variation(logits, targets, delta)


def _first_order(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return (logits.softmax(1) * (delta - _own(delta, targets))).sum(1)


def _over_samples(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    p = logits.softmax(0)
    return (p * (delta - _own(delta, targets)).exp()).sum(1).log()


def _overflows(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (p * (delta - _own(delta, targets)).exp()).sum(1).log()


def _without_own(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return (logits.log_softmax(1) + delta).logsumexp(1)


def _mean(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return variation(logits, targets, delta).mean()


def _examples() -> list[tuple[Any, ...]]:
    one = (
        torch.tensor([[2.0, 0.0, -1.0]]),
        torch.tensor([0]),
        torch.tensor([[-1.0, 1.0, 0.0]]),
    )
    some = [
        (drawn(seed, 5, 4, scale=2.0), labels(seed, 5, 4), drawn(seed + 10, 5, 4))
        for seed in range(3)
    ]
    large = (
        torch.tensor([[500.0, 0.0], [-500.0, 0.0]]),
        torch.tensor([0, 0]),
        torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]),
    )
    return [one, *some, large]


check_variation = Checker(
    variation,
    _examples,
    {
        _turned: "The sign is turned: the perturbed loss comes first.",
        _first_order: (
            "The mean of the exponentials is missing: that is the first order only."
        ),
        _over_samples: "The softmax runs over the samples, dim 0; the classes are dim 1.",
        _overflows: "Exponentials of large logits overflow: use log_softmax or logsumexp.",
        _without_own: "The label's own entry of delta is not subtracted.",
        _mean: "One number for each sample is asked for, not their mean.",
    },
)
