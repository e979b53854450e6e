"""What the searches share: their registry, random instances, and the loss in NumPy.

None of it comes from the library or its tests, so that a slip there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

Draw = np.random.Generator
Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Trial = Callable[[Draw], "float | Iterable[float]"]


@dataclass(frozen=True)
class Search:
    """How a statement is tried.

    Attributes:
        trial: draws an instance and returns by how much the statement fails on it: no
            more than the tolerance where it holds.
        tolerance: of rounding, quadrature or an optimiser.
        cost: of an instance; a statement gets so many fewer of them.
    """

    trial: Trial
    tolerance: float
    cost: int


SEARCHES: dict[str, Search] = {}


def search(label: str, tolerance: float = 1e-9, cost: int = 1) -> Callable[[Trial], Trial]:
    """Register a trial for a statement."""

    def register(trial: Trial) -> Trial:
        SEARCHES[label] = Search(trial, tolerance, cost)
        return trial

    return register


def power(draw: Draw, low: float, high: float) -> float:
    """10 to the power of a number drawn evenly between ``low`` and ``high``."""
    return float(10 ** draw.uniform(low, high))


def normal(draw: Draw, *shape: int) -> Array:
    """Normal numbers, all times one factor from tiny to large."""
    return power(draw, -2, 1.2) * draw.normal(size=shape)


def sample(draw: Draw, low: int = 2) -> tuple[Array, Array, int]:
    """Logits, a perturbation and a label."""
    size = int(draw.integers(low, 9))
    return normal(draw, size), normal(draw, size), int(draw.integers(size))


def uneven(draw: Draw, size: int) -> Array:
    """Priors of counts from 1 to 10,000, not all equal."""
    counts = np.floor(10 ** draw.uniform(0, 4, size))
    if counts.min() == counts.max():
        counts[0] += 1
    return counts / counts.sum()


def excess(u: Array, y: int) -> Array:
    """``log sum exp`` of the rivals' logits over the label's, ``(..., C) -> (...)``."""
    others = np.delete(u, y, -1) - u[..., [y]]
    return np.asarray(np.logaddexp.reduce(others, axis=-1))


def loss(u: Array, y: int) -> Any:
    """Cross-entropy, ``(..., C) -> (...)``, exact also where it is tiny."""
    return np.logaddexp(0, excess(u, y))


def one_hot(y: int, size: int) -> Array:
    return np.eye(size)[y]


def probabilities(u: Array) -> Array:
    return np.asarray(softmax(u, axis=-1))


def logistic(t: Array | float) -> Array:
    return np.exp(-np.logaddexp(0, -np.asarray(t, dtype=float)))


def minimised(
    objective: Callable[[Array], tuple[float, Array]], start: Array, gtol: float = 1e-9
) -> Array:
    """Where BFGS ends, from value and gradient."""
    options = {"gtol": gtol, "maxiter": 3000}
    run = minimize(objective, start, jac=True, method="BFGS", options=options)
    return np.asarray(run.x)


def softmax_fit(
    x: Array, y: Labels, table: Array, decay: float = 0.05, weight: Array | None = None
) -> tuple[Array, Array]:
    """Weights ``(C, A)`` and free biases ``(C,)`` at the minimum of the perturbed loss."""
    size, number = len(table), len(y)
    hot = np.eye(size)[y]
    each = np.ones(number) / number if weight is None else weight

    def objective(z: Array) -> tuple[float, Array]:
        w, b = z[:-size].reshape(size, -1), z[-size:]
        moved = x @ w.T + b + table[y]
        top = np.logaddexp.reduce(moved, axis=1)
        push = each[:, None] * (np.exp(moved - top[:, None]) - hot)
        value = each @ (top - moved[np.arange(number), y]) + 0.5 * decay * (w * w).sum()
        slope = push.T @ x + decay * w
        return float(value), np.r_[slope.ravel(), push.sum(0)]

    found = minimised(objective, np.zeros(size * (x.shape[1] + 1)))
    return found[:-size].reshape(size, -1), found[-size:]


def labelled(draw: Draw, size: int) -> tuple[Array, Labels]:
    """Overlapping features ``(n, 2)`` and labels, each class there at least twice."""
    rest = draw.choice(size, int(draw.integers(10, 40)), p=draw.dirichlet(np.ones(size)))
    y = np.r_[np.arange(size), np.arange(size), rest]
    return draw.normal(size=(len(y), 2)) + draw.normal(size=(size, 2))[y], y
