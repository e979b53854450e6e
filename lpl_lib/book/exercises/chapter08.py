"""The coding exercise of chapter 8: logit adjustment after training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def decide(logits: Tensor, counts: Tensor) -> Tensor:
    """Return the classes decided for after the prior is taken back, ``(B,)``."""
    return (logits - (counts / counts.sum()).log()).argmax(1)


def _added(logits: Tensor, counts: Tensor) -> Tensor:
    return (logits + (counts / counts.sum()).log()).argmax(1)


def _without_log(logits: Tensor, counts: Tensor) -> Tensor:
    return (logits - counts / counts.sum()).argmax(1)


def _divided(logits: Tensor, counts: Tensor) -> Tensor:
    return (logits / (counts / counts.sum())).argmax(1)


def _over_samples(logits: Tensor, counts: Tensor) -> Tensor:
    return (logits - (counts / counts.sum()).log()).argmax(0)


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([90.0, 10.0]))
    some = [
        (drawn(seed, 12, 4, scale=2.0), torch.tensor([400.0, 100.0, 20.0, 4.0]))
        for seed in range(3)
    ]
    return [one, *some]


check_decide = Checker(
    decide,
    _examples,
    {
        _added: "Added is for training; after training the prior is subtracted.",
        _without_log: "Logits are logarithms: take the logarithm of the prior.",
        _divided: "Probabilities are divided by the prior; from logits one subtracts.",
        _over_samples: "The largest logit over the classes, dim 1.",
    },
)
