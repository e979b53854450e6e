"""The coding exercise of chapter 2: the loss of LDAM, from the counts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import LDAM


def ldam_loss(logits: Tensor, targets: Tensor, counts: Tensor, max_margin: float) -> Tensor:
    """Return the mean loss with the own logits lowered by LDAM's margins."""
    return PerturbedLoss(LDAM(counts, max_margin))(logits, targets)


_LABELS, COUNTS = torch.tensor([0, 3, 1, 2, 0]), torch.tensor([500.0, 100.0, 20.0, 4.0])
check_ldam_loss = Checker(
    "ldam_loss",
    ldam_loss,
    [
        (torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor([16.0, 1.0]), 0.5),
        *((drawn(k, 5, 4), _LABELS, COUNTS, 0.5 + k) for k in range(3)),
    ],
    {
        "Subtracting one number from all logits of a sample does nothing.": (
            lambda u, y, n, m: F.cross_entropy(u, y)
        ),
        "Only the own logit is lowered, not each by its class's margin.": (
            lambda u, y, n, m: F.cross_entropy(u - m * (n / n.min()) ** -0.25, y)
        ),
    },
)
