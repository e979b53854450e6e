"""Chapter 7: what composes with what, every pair of methods trained for a few steps."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from torch import nn

from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.method import Facts
from lpl_lib.lab.methods import METHODS, build_method
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import DivergedError, train

NAMES = (
    *("LA", "LDAM, linear head", "VS", "ISDA", "focal loss", "label smoothing", "mix-up"),
    *("balanced sampling", "class-balanced weights", "post-hoc LA", "LPL, linf", "LPL"),
)


class Cell(NamedTuple):
    """How a pair of methods came out.

    Attributes:
        works: the loss stayed finite, and fell.
        note: why it does not work, or what to mind; may be empty.
    """

    works: bool
    note: str = ""


def corrects_prior(name: str) -> bool:
    """Whether a method makes up for the classes' unequal shares."""
    return METHODS["multiclass"][name].corrects_prior


def try_pair(first: str, second: str, data: LabelledImages) -> Cell:
    """Fuse two methods, or take one alone, and train a perceptron for ten epochs."""
    torch.manual_seed(0)
    counts = data.class_counts(int(data.targets.max()) + 1)
    head = nn.Linear(32, len(counts))
    inputs = data.images[0].numel()
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), head)
    pair = list(dict.fromkeys((first, second)))
    try:
        method = build_method(" + ".join(pair), Facts(counts, head=head))
        additions = method.additions(len(counts))
        recipe = Recipe(epochs=10)
        loss = train(net, method.criterion, data, recipe, progress=False, **additions).loss
    except (ValueError, DivergedError) as error:
        return Cell(False, str(error))
    twice = len(pair) == 2 and all(corrects_prior(name) for name in pair)
    return Cell(loss[-1] < loss[0], "corrects the prior twice" if twice else "")


def compose_matrix(data: LabelledImages) -> dict[tuple[str, str], Cell]:
    """Return the outcome of every unordered pair of ``NAMES``."""
    pairs = combinations_with_replacement(NAMES, 2)
    return {pair: try_pair(*pair, data) for pair in pairs}
