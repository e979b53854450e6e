"""The coding exercise of chapter 4: the power method, upwards."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn


def power_steps(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    """Return the shift after some steps from zero that raise the class's loss, ``(C,)``."""
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        g = _gradient(logits + delta, label)
        delta = bound * g / g.norm()
    return delta


def _gradient(logits: Tensor, label: int) -> Tensor:
    g = logits.softmax(1).mean(0)
    g[label] -= 1
    return g


def _stuck(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    return power_steps(logits, label, bound, 1)


def _not_normalised(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        delta = bound * _gradient(logits + delta, label)
    return delta


def _of_the_mean_logits(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    return power_steps(logits.mean(0, keepdim=True), label, bound, steps)


check_power_steps = Checker(
    power_steps,
    lambda: [
        (torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 0.0]]), 0, 1.0, 1),
        *((drawn(k, 5, 4, scale=2.0), k, 0.5 + k, steps) for k, steps in ((0, 2), (2, 3))),
    ],
    {
        _stuck: "From the second step on the gradient is taken at u + delta.",
        _not_normalised: "The step goes to the sphere: divide g by its length.",
        _of_the_mean_logits: "Average the softmaxes of the samples, not their logits.",
    },
)
