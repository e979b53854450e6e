"""The coding exercise of chapter 14: the soft confusion matrix."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn


def confusion(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean probabilities of each class's samples, ``(C, C)``."""
    own = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return own.T @ logits.softmax(1) / own.sum(0)[:, None]


_LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])
check_confusion = Checker(
    "confusion",
    confusion,
    [
        (torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 0, 1])),
        *((drawn(seed, 9, 3, scale=2.0), _LABELS) for seed in range(3)),
    ],
    {
        "Rows are labels, columns what each is taken for.": lambda u, y: confusion(u, y).T,
        "Means are asked for, not sums: each row sums to 1.": (
            lambda u, y: F.one_hot(y).float().T @ u.softmax(1)
        ),
    },
)
