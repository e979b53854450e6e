"""The coding exercise of chapter 7: mix-up with a criterion of integer labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import LDAM, LogitAdjustment


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


def _shares_turned(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    logits = net(lam * images + (1 - lam) * images.flip(0))
    return (1 - lam) * criterion(logits, labels) + lam * criterion(logits, labels.flip(0))


def _images_apart(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    first = criterion(net(images), labels)
    return lam * first + (1 - lam) * criterion(net(images.flip(0)), labels.flip(0))


def _equal_shares(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    return mixed_loss(net, criterion, images, labels, 0.5)


def _pixels_mirrored(
    net: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, lam: float
) -> Tensor:
    logits = net(lam * images + (1 - lam) * images.flip(-1))
    return lam * criterion(logits, labels) + (1 - lam) * criterion(logits, labels.flip(0))


def _examples() -> list[tuple[Any, ...]]:
    net = nn.Linear(3, 4)
    with torch.no_grad():
        net.weight.copy_(drawn(0, 4, 3))
        net.bias.copy_(drawn(1, 4))
    counts = [50, 20, 8, 2]
    criteria = (
        nn.CrossEntropyLoss(),
        PerturbedLoss(LogitAdjustment(counts)),
        PerturbedLoss(LDAM(counts)),
    )
    return [
        (
            net,
            criterion,
            drawn(place + 2, 6, 3),
            torch.tensor([0, 3, 1, 2, 0, 1]),
            0.6 + 0.15 * place,
        )
        for place, criterion in enumerate(criteria)
    ]


check_mixed_loss = Checker(
    mixed_loss,
    _examples,
    {
        _labels_kept: "A mixed image has two labels, so the loss has two parts.",
        _shares_turned: "The share lam belongs to the image's own label.",
        _images_apart: "The images are mixed before the net sees them.",
        _equal_shares: "The shares are lam and 1 - lam, not one half each.",
        _pixels_mirrored: "Mirror the batch, dim 0; you have mirrored the images.",
    },
)
