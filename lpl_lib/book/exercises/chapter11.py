"""The coding exercise of chapter 11: how much small noise raises the loss."""

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn


def rise(logits: Tensor, weight: Tensor, covariance: Tensor) -> Tensor:
    """Return half the variance of the moved logits under the probabilities, ``(B,)``."""
    p, moved = logits.softmax(1), weight @ covariance @ weight.T
    return 0.5 * (p @ moved.diagonal() - torch.einsum("bc,cd,bd->b", p, moved, p))


SIGMA = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
check_rise = Checker(
    "rise",
    rise,
    [
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.eye(2), SIGMA),
        *((drawn(seed, 6, 4), drawn(seed + 10, 4, 2), SIGMA) for seed in range(3)),
    ],
    {
        "The factor one half is missing.": lambda *example: 2 * rise(*example),
        "H has two parts; diag(p) alone is a mean of squares, not yet a variance.": (
            lambda u, w, sigma: 0.5 * u.softmax(1) @ (w @ sigma @ w.T).diagonal()
        ),
    },
)
