"""Plain numpy versions of the multi-label losses, one image and label at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(u: float) -> float:
    """Probability of a logit."""
    return 1 / (1 + math.exp(-u)) if u >= 0 else math.exp(u) / (1 + math.exp(u))


def bce(u: float, t: float) -> float:
    """Binary cross-entropy of one logit."""
    return max(u, 0) - u * t + math.log1p(math.exp(-abs(u)))


def focal(u: float, t: float, gamma: float, balance: float = 1.0) -> float:
    """BCE times a power of the probability of being wrong."""
    p = sigmoid(u)
    return balance * (1 - p if t else p) ** gamma * bce(u, t)


def asl(u: float, t: float, minus: float, plus: float, margin: float) -> float:
    """Asymmetric loss with a probability margin for negatives."""
    p = sigmoid(u)
    if t:
        return -((1 - p) ** plus) * math.log(p)
    moved = max(p - margin, 0)
    return -(moved**minus) * math.log(1 - moved)


def rebalancing(t: Array, counts: Array, alpha: float, beta: float, mu: float) -> Array:
    """Weights of one image with at least one label."""
    once = sum(1 / n for n, has in zip(counts, t, strict=True) if has)
    return np.array([alpha + sigmoid(beta * (1 / n / once - mu)) for n in counts])


def distribution_balanced(
    u: Array,
    t: Array,
    counts: Array,
    size: int,
    *,
    kappa: float,
    scale: float,
    mu: float,
    gamma: float | None,
) -> float:
    """DB, and with a gamma DB-Focal, in the order of operations of its authors."""
    total = 0.0
    for row, labels in zip(u, t, strict=True):
        weights = rebalancing(labels, counts, 0.1, 10.0, mu)
        for k, n in enumerate(counts):
            z = row[k] - kappa / scale * math.log(size / n - 1)
            z, weight = (z, weights[k]) if labels[k] else (scale * z, weights[k] / scale)
            loss = bce(z, labels[k])
            focus = 1.0 if gamma is None else 2 * (1 - math.exp(-loss)) ** gamma
            total += focus * weight * loss
    return total / u.size
