"""The coding exercise of chapter 15: BCE with a perturbation of each label's sides."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn


def perturbed_bce(
    logits: Tensor, targets: Tensor, delta_plus: Tensor, delta_minus: Tensor
) -> Tensor:
    """Return the mean over samples and labels of the loss of the moved logits."""
    moved = logits + torch.where(targets > 0, delta_plus, delta_minus)
    return F.binary_cross_entropy_with_logits(moved, targets)


ONE, LABEL, SIX = torch.ones(2), torch.tensor([[1.0, 0.0]]), (drawn(0, 6, 4) > 0.5).float()
check_perturbed_bce = Checker(
    "perturbed_bce",
    perturbed_bce,
    [
        (torch.zeros(1, 2), LABEL, -ONE, -2 * ONE),
        (drawn(1, 6, 4, scale=2.0), SIX, drawn(2, 4), drawn(3, 4)),
        (torch.tensor([[-200.0, 200.0]]), LABEL, -ONE, ONE),
    ],
    {
        "The two sides are swapped.": lambda u, t, a, b: perturbed_bce(u, t, b, a),
        "delta is added to negatives, too.": lambda u, t, a, b: perturbed_bce(u, t, a, -b),
        "A sigmoid may become 0, and its logarithm infinite: use softplus.": (
            lambda u, t, a, b: -torch.where(t > 0, u + a, -u - b).sigmoid().log().mean()
        ),
    },
)
