"""The coding exercise of chapter 7: mix-up with a criterion of integer labels."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import LDAM


def mixed_loss(net: Any, criterion: Any, images: Tensor, labels: Tensor, lam: float) -> Any:
    """Return the loss of images mixed with those of the mirrored places of the batch."""
    logits = net(lam * images + (1 - lam) * images.flip(0))
    return lam * criterion(logits, labels) + (1 - lam) * criterion(logits, labels.flip(0))


def _net(images: Tensor) -> Tensor:
    return images @ drawn(0, 3, 4)


_LABELS, LDAM_LOSS = torch.tensor([0, 3, 1, 2, 0, 1]), PerturbedLoss(LDAM([50, 20, 8, 2]))
check_mixed_loss = Checker(
    "mixed_loss",
    mixed_loss,
    [
        (_net, F.cross_entropy, drawn(2, 6, 3), _LABELS, 0.6),
        (_net, LDAM_LOSS, drawn(3, 6, 3), _LABELS, 0.75),
    ],
    {
        "A mixed image has two labels, so the loss has two parts.": (
            lambda f, g, x, y, a: g(f(a * x + (1 - a) * x.flip(0)), y)
        ),
        "The images are mixed before the net sees them.": (
            lambda f, g, x, y, a: a * g(f(x), y) + (1 - a) * g(f(x.flip(0)), y.flip(0))
        ),
    },
)
