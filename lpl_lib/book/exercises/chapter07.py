"""The coding exercise of chapter 7: mix-up with a criterion of integer labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import LDAM


def mixed_loss(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    """Return the loss of images mixed with those of the mirrored places of the batch."""
    logits = net(lam * images + (1 - lam) * images.flip(0))
    return lam * criterion(logits, labels) + (1 - lam) * criterion(logits, labels.flip(0))


def _labels_kept(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    return criterion(net(lam * images + (1 - lam) * images.flip(0)), labels)


def _images_apart(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    first = criterion(net(images), labels)
    return lam * first + (1 - lam) * criterion(net(images.flip(0)), labels.flip(0))


def _examples() -> list[tuple[Any, ...]]:
    net = nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        net.weight.copy_(drawn(0, 4, 3))
    labels = torch.tensor([0, 3, 1, 2, 0, 1])
    criteria = nn.CrossEntropyLoss(), PerturbedLoss(LDAM([50, 20, 8, 2]))
    return [
        (net, criterion, drawn(place + 2, 6, 3), labels, 0.6 + 0.15 * place)
        for place, criterion in enumerate(criteria)
    ]


check_mixed_loss = Checker(
    mixed_loss,
    _examples,
    {
        _labels_kept: "A mixed image has two labels, so the loss has two parts.",
        _images_apart: "The images are mixed before the net sees them.",
    },
)
