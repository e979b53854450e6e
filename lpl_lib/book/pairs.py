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
    *("balanced sampling", "class-balanced weights", "post-hoc LA", "LPL, linf", "LPL"),
)


def corrects_prior(name: str) -> bool:
    """Whether a method makes up for the classes' unequal shares."""
    return METHODS["multiclass"][name].corrects_prior


def compose_matrix(data: LabelledImages) -> dict[tuple[str, str], str]:
    """Return how every unordered pair of ``NAMES`` comes out, or one of them alone, if a
    perceptron is trained with it for ten epochs: ``"✓"``, the loss stays finite and falls;
    ``"2"``, so it does, but the prior is corrected twice; or ``"×"``."""
    return {
        (one, other): _outcome(dict.fromkeys((one, other)), data)
        for one, other in combinations_with_replacement(NAMES, 2)
    }


def _outcome(names: dict[str, None], data: LabelledImages) -> str:
    torch.manual_seed(0)
    counts = data.class_counts(int(data.targets.max()) + 1)
    head = nn.Linear(32, len(counts))
    inputs = data.images[0].numel()
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), head)
    try:
        method = build_method(" + ".join(names), Facts(counts, head=head))
        additions, recipe = method.additions(len(counts)), Recipe(epochs=10)
        loss = train(net, method.criterion, data, recipe, progress=False, **additions).loss
    except (ValueError, DivergedError):
        return "×"
    twice = len(names) == 2 and all(map(corrects_prior, names))
    return "×" if loss[-1] >= loss[0] else "2" if twice else "✓"
