"""Chapter 7: what composes with what, every pair of methods trained for a few steps."""

from __future__ import annotations

from itertools import combinations_with_replacement

import torch
from torch import nn

from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.method import Facts
from lpl_lib.lab.methods import METHODS, build_method
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import DivergedError, train

NAMES = (
    *("LA", "LDAM, linear head", "VS", "ISDA", "focal loss", "label smoothing", "mix-up"),
    *("balanced sampling", "class-balanced weights", "post-hoc LA", "LPL, max norm", "LPL"),
)


def corrects_prior(name: str) -> bool:
    """Whether a method makes up for the classes' unequal shares."""
    return METHODS["multiclass"][name].corrects_prior


def compose_matrix(data: LabelledImages) -> dict[tuple[str, str], str]:
    """Return how every unordered pair of ``NAMES`` comes out, or one of them alone, if a
    perceptron is trained with it for ten epochs: ``"✓"``, the loss stays finite and falls;
    ``"2"``, so it does, but the prior is corrected twice; or ``"×"``."""
    return {pair: _outcome(*pair, data) for pair in combinations_with_replacement(NAMES, 2)}


def _outcome(one: str, other: str, data: LabelledImages) -> str:
    torch.manual_seed(0)
    counts = data.class_counts(int(data.targets.max()) + 1)
    head = nn.Linear(32, len(counts))
    inputs = data.images[0].numel()
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), head)
    try:
        name = one if one == other else f"{one} + {other}"
        method = build_method(name, Facts(counts, head=head))
        additions, recipe = method.additions(len(counts)), Recipe(epochs=10)
        loss = train(net, method.criterion, data, recipe, progress=False, **additions).loss
    except (ValueError, DivergedError):
        return "×"
    twice = one != other and corrects_prior(one) and corrects_prior(other)
    return "×" if loss[-1] >= loss[0] else "2" if twice else "✓"
