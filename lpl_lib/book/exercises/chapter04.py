"""The coding exercise of chapter 4: the power method, upwards."""

from __future__ import annotations

from typing import Any

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
    g = _gradient(logits, label)
    return bound * g / g.norm()


def _added_up(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        g = _gradient(logits + delta, label)
        delta = delta + bound * g / g.norm()
    return delta


def _not_normalised(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        delta = bound * _gradient(logits + delta, label)
    return delta


def _downwards(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        g = _gradient(logits + delta, label)
        delta = -bound * g / g.norm()
    return delta


def _without_label(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        g = (logits + delta).softmax(1).mean(0)
        delta = bound * g / g.norm()
    return delta


def _of_the_mean_logits(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    return power_steps(logits.mean(0, keepdim=True), label, bound, steps)


def _maximum_norm(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    delta = torch.zeros(logits.shape[1])
    for _ in range(steps):
        delta = bound * _gradient(logits + delta, label).sign()
    return delta


def _examples() -> list[tuple[Any, ...]]:
    one = (torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 0.0]]), 0, 1.0, 1)
    some = [
        (drawn(seed, 5, 4, scale=2.0), seed, 0.5 + seed, steps)
        for seed, steps in ((0, 2), (1, 2), (2, 3))
    ]
    return [one, *some]


check_power_steps = Checker(
    power_steps,
    _examples,
    {
        _stuck: "From the second step on the gradient is taken at u + delta.",
        _added_up: "A step replaces delta; it is not added to it, or it leaves the ball.",
        _not_normalised: "The step goes to the sphere: divide g by its length.",
        _downwards: "That lowers the loss; the loss is to be raised.",
        _without_label: "The gradient is the mean softmax less one at the label.",
        _of_the_mean_logits: "Average the softmaxes of the samples, not their logits.",
        _maximum_norm: "That is the maximum norm; the ball here is Euclidean.",
    },
)
