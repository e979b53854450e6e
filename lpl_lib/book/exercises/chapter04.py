"""The coding exercise of chapter 4: the power method, upwards."""

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.lpl.solvers import L2


def power_steps(logits: Tensor, label: int, bound: float, steps: int) -> Tensor:
    """Return the shift after some steps from zero that raise the class's loss, ``(C,)``."""
    targets = torch.full((len(logits),), label)
    return L2(steps)(logits, targets, torch.full((len(logits),), bound), bound)[0]


check_power_steps = Checker(
    "power_steps",
    power_steps,
    [
        (torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 0.0]]), 0, 1.0, 1),
        *((drawn(k, 5, 4, scale=2.0), k, 0.5 + k, steps) for k, steps in ((0, 2), (2, 3))),
    ],
    {
        "From the second step on the gradient is taken at u + delta.": (
            lambda u, label, bound, steps: power_steps(u, label, bound, 1)
        ),
        "Average the softmaxes of the samples, not their logits.": (
            lambda u, *settings: power_steps(u.mean(0, keepdim=True), *settings)
        ),
    },
)
