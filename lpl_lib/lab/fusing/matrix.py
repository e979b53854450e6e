"""What composes with what: every pair of methods, trained for a few steps."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.fusing.methods import METHODS, fuse
from lpl_lib.lab.fusing.training import train

STEPS, ENDS = 50, 10


class Cell(NamedTuple):
    """How a pair of methods came out.

    Attributes:
        works: loss and gradients stayed finite, and the loss fell.
        note: why it does not work, or what to mind; may be empty.
    """

    works: bool
    note: str = ""


def try_pair(first: str, second: str, data: LabelledImages) -> Cell:
    """Fuse two methods, or take one alone, and train for 50 steps.

    The loss fell if its mean over the last ten steps is below that over the first ten.
    """
    parts = [METHODS[name] for name in dict.fromkeys((first, second))]
    try:
        method = fuse(parts)
    except ValueError as error:
        return Cell(False, str(error))
    torch.manual_seed(0)
    net = _Perceptron(data.images[0].numel(), num_classes=int(data.targets.max()) + 1)
    run = train(net, method, data, steps=STEPS)
    fell = sum(run.losses[-ENDS:]) < sum(run.losses[:ENDS])
    twice = len(parts) == 2 and all(part.corrects_prior for part in parts)
    return Cell(run.finite and fell, "corrects the prior twice" if twice else "")


def compose_matrix(data: LabelledImages) -> dict[tuple[str, str], Cell]:
    """Return the outcome of every unordered pair of methods, cross-entropy left out."""
    names = [name for name in METHODS if name != "cross-entropy"]
    pairs = combinations_with_replacement(names, 2)
    return {pair: try_pair(*pair, data) for pair in pairs}


class _Perceptron(nn.Module):
    """One hidden layer: enough to learn from, and quick enough for a hundred pairs."""

    def __init__(self, num_inputs: int, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(num_inputs, width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
