"""The coding exercise of chapter 5: the varied bounds of Eq. 13."""

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker


def bounds(confidence: Tensor, seen: Tensor, epsilon: float, extra: float) -> Tensor:
    """Return the bound of each class seen, and 0 for the others, ``(C,)``."""
    return (epsilon + extra * (confidence[seen].mean() - confidence).abs()) * seen


check_bounds = Checker(
    "bounds",
    bounds,
    [
        (torch.tensor([0.9, 0.5]), torch.tensor([True, True]), 0.1, 1.0),
        (torch.tensor([0.95, 0.2, 0.0]), torch.tensor([True, True, False]), 0.5, 2.0),
        (torch.tensor([0.99, 0.0, 0.98]), torch.tensor([True, False, True]), 0.0, 4.0),
    ],
    {
        "The threshold is the mean over the classes seen.": (
            lambda q, seen, least, extra: (least + extra * (q.mean() - q).abs()) * seen
        ),
        "A class without samples has nothing to be moved: bound 0.": (
            lambda q, seen, least, extra: least + extra * (q[seen].mean() - q).abs()
        ),
    },
)
