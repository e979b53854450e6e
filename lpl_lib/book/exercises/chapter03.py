"""The coding exercise of chapter 3: the signs of the split by confidence."""

from collections.abc import Callable

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.lpl.confidence import ClassConfidence


def _signs(logits: Tensor, targets: Tensor, tau: Callable[..., Tensor]) -> Tensor:
    """+1 for classes behind ``tau``, -1 for the others, 0 for absent ones, ``(C,)``."""
    q, seen, _ = ClassConfidence(logits.shape[1])(logits, targets)
    return torch.where(q < tau(q, seen), 1.0, -1.0) * seen


FOUR_OF_SIX = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 4, 4])
check_signs = Checker(
    "signs",
    lambda logits, targets: _signs(logits, targets, lambda q, seen: q[seen].mean()),
    [
        (torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])),
        *((drawn(seed, 12, 6, scale=2.0), FOUR_OF_SIX) for seed in range(6)),
    ],
    {
        "An absent class has no confidence, not the confidence zero.": (
            lambda u, y: _signs(u, y, lambda q, seen: q.mean())
        ),
        "The threshold is a mean over classes, not over samples.": (
            lambda u, y: _signs(u, y, lambda q, seen: q[y].mean())
        ),
    },
)
