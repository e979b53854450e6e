"""The coding exercise of chapter 6: balanced accuracy."""

import torch

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.metrics import balanced_accuracy

UNEVEN = torch.tensor([0] * 10 + [1] * 5 + [2] * 4 + [4])
check_balanced = Checker(
    "balanced",
    balanced_accuracy,
    [
        (torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])),
        *((drawn(seed, 20, 5), UNEVEN) for seed in range(4)),
    ],
    {
        "That counts samples alike; count classes alike.": (
            lambda u, y: (u.argmax(1) == y).double().mean()
        ),
        "A class without test samples has no accuracy: leave it out.": (
            lambda u, y: balanced_accuracy(u, y) * len(y.unique()) / u.shape[1]
        ),
    },
)
