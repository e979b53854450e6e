"""Plain numpy versions of the formulas, one sample at a time, as a second opinion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def log_softmax(u: Array) -> Array:
    """Log probabilities of one vector of logits."""
    shifted = u - u.max()
    return shifted - np.log(np.exp(shifted).sum())


def softmax(u: Array) -> Array:
    """Probabilities of one vector of logits."""
    return np.exp(log_softmax(u))


def cross_entropy(u: Array, y: Array) -> float:
    """Mean of ``-log p_y`` over the samples."""
    return float(
        np.mean([-log_softmax(row)[label] for row, label in zip(u, y, strict=True)])
    )


def la_loss(u: Array, y: Array, counts: Array, tau: float) -> float:
    """Logit adjustment: ``tau log pi`` is added to every sample's logits."""
    return cross_entropy(u + tau * np.log(counts / counts.sum()), y)


def ldam_loss(u: Array, y: Array, counts: Array, max_margin: float, scale: float) -> float:
    """LDAM: the label's logit is lowered by ``scale * m_y``, with ``m ~ n^(-1/4)``."""
    margins = counts**-0.25
    margins = margins * max_margin / margins.max()
    shifted = u.copy()
    for i, label in enumerate(y):
        shifted[i, label] -= scale * margins[label]
    return cross_entropy(shifted, y)


def vs_loss(u: Array, y: Array, counts: Array, gamma: float, tau: float) -> float:
    """Vector scaling: logits are divided by ``(n_max / n_c)^gamma``, then adjusted."""
    return la_loss(u / (counts.max() / counts) ** gamma, y, counts, tau)


def isda_delta(
    y: Array, h: Array, w: Array, strength: float, diagonal: bool = False
) -> Array:
    """ISDA with the population covariances of these features, sample by sample."""
    delta = np.zeros((len(y), len(w)))
    for i, label in enumerate(y):
        spread = np.atleast_2d(np.cov(h[y == label].T, bias=True))
        if diagonal:
            spread = np.diag(np.diag(spread))
        for c in range(len(w)):
            gap = w[c] - w[label]
            delta[i, c] = strength / 2 * gap @ spread @ gap
    return delta


def class_loss(u: Array, c: int, delta: Array) -> float:
    """Mean loss of the samples ``u`` of class ``c``, perturbed by ``delta``."""
    return cross_entropy(u + delta, np.full(len(u), c))


def class_gradient(u: Array, c: int, delta: Array) -> Array:
    """Gradient of :func:`class_loss` with respect to ``delta``."""
    gradient = np.mean([softmax(row + delta) for row in u], axis=0)
    gradient[c] -= 1
    return gradient


def algorithm1(
    u: Array, c: int, epsilon: float, step: float, sign: int, times: int
) -> Array:
    """The printed Algorithm 1: so many plain gradient steps for the samples of a class."""
    assert times * step <= epsilon + 1e-9 < (times + 1) * step + 1e-9
    delta = np.zeros(u.shape[1])
    for _ in range(times):
        delta += sign * step * class_gradient(u, c, delta)
    return delta


def best_in_ball(u: Array, c: int, epsilon: float, sign: int) -> float:
    """The best class loss over the Euclidean ball, by SLSQP from many starts."""
    starts = np.random.default_rng(0).normal(size=(6, u.shape[1]))
    found = [
        minimize(
            lambda d: -sign * class_loss(u, c, d),
            epsilon * start / np.linalg.norm(start),
            jac=lambda d: -sign * class_gradient(u, c, d),
            constraints={"type": "ineq", "fun": lambda d: epsilon**2 - d @ d},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 300},
        )
        for start in starts
    ]
    values = [
        -sign * run.fun for run in found if np.linalg.norm(run.x) <= epsilon * (1 + 1e-6)
    ]
    return max(values) if sign > 0 else min(values)


def sample(model, number, dimension, rng):
    """Points of the two Gaussians, each class ``(number, dimension)``."""
    theta = model.separation / np.sqrt(dimension)
    wide = model.spread_ratio * model.sigma
    plus = theta + wide * rng.standard_normal((number, dimension))
    return plus, -theta + model.sigma * rng.standard_normal((number, dimension))
