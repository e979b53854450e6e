"""Chapters 3, 14 and 18: what holds where training stands still, and a learned split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize_scalar

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    Labels,
    labelled,
    logistic,
    one_hot,
    power,
    probabilities,
    search,
    softmax_fit,
    uneven,
)


def fitted(draw: Draw, size: int, equal: bool = False) -> tuple[Array, Labels]:
    """Probabilities at the optimum of cross-entropy with free biases, and labels."""
    x, y = labelled(draw, size)
    if equal:
        y = np.repeat(np.arange(size), len(y) // size)
        x = x[: len(y)]
    w, b = softmax_fit(x, y, np.zeros((size, size)), decay=power(draw, -2, 0))
    return probabilities(x @ w.T + b), y


@search("prop-3-blind", tolerance=1e-6, cost=20)
def blind(draw: Draw) -> Iterator[float]:
    p, y = fitted(draw, int(draw.integers(2, 5)))
    yield float(np.abs(p.mean(0) - np.bincount(y) / len(y)).max())
    for equal in (False, True):
        p, y = fitted(draw, 2, equal)
        share = np.bincount(y) / len(y)
        q = np.array([p[y == c, c].mean() for c in (0, 1)])
        yield abs(share[0] * (1 - q[0]) - share[1] * (1 - q[1]))
        yield abs(q[0] - q[1]) if equal else 0.0


@search("cor-14-lost", tolerance=1e-6, cost=20)
def lost_and_taken(draw: Draw) -> Iterator[float]:
    for equal in (False, True):
        p, y = fitted(draw, int(draw.integers(2, 6)), equal)
        share = np.bincount(y) / len(y)
        soft = np.array([p[y == k].mean(0) for k in range(len(share))])
        yield float(np.abs(share @ soft - share).max())
        if equal:
            yield float(np.abs(soft.sum(0) - 1).max())
            yield float(np.abs(soft.sum(1) - soft.sum(0)).max())


@search("thm-14-separable", tolerance=1e-5, cost=100)
def separable(draw: Draw) -> Iterator[float]:
    """Two parameters, so that directions can be scanned; samples with any features."""
    size, number = int(draw.integers(2, 5)), int(draw.integers(2, 9))
    leads = draw.normal(size=(number, size - 1, 2)) + power(draw, -0.5, 0.5) * one_hot(0, 2)
    gaps = draw.normal(size=number) * power(draw, -1, 0.3)

    def margin(angle: float) -> float:
        return float((leads @ [np.cos(angle), np.sin(angle)]).min())

    angles = np.linspace(-np.pi, np.pi, 721)
    first = angles[np.argmax([margin(a) for a in angles])]
    run = minimize_scalar(
        lambda a: -margin(a), bounds=(first - 0.02, first + 0.02), method="bounded",
        options={"xatol": 1e-12},
    )  # fmt: skip
    widest, direction = -run.fun, np.array([np.cos(run.x), np.sin(run.x)])
    if widest < 0.02:
        return
    slack = 2 * np.abs(gaps).max() + np.log(2 * number * (size - 1))
    length = slack / (widest * draw.uniform(0.05, 0.99))

    def value(theta: Array) -> tuple[float, Array]:
        """With its gradient, in the disc's own parameters by a tangent of length."""
        far = leads @ theta
        inner = gaps + np.logaddexp.reduce(-far, axis=1)
        share = probabilities(-far) * logistic(inner)[:, None]
        return float(np.logaddexp(0, inner).sum()), -np.einsum("ij,ijk->k", share, leads)

    theta = direction * length * 0.9
    for _ in range(20_000):  # projected gradient steps, shortened where they climb
        now, slope = value(theta)
        step = 1e3 * length / max(np.linalg.norm(slope), 1e-300)
        while step * np.linalg.norm(slope) > 1e-13 * length:
            trial = theta - step * slope
            trial *= min(1.0, length / np.linalg.norm(trial))
            if value(trial)[0] < now:
                break
            step /= 2
        else:
            break
        theta = trial
    unit, share = theta / length, slack / length
    yield widest - share - float((leads @ unit).min())
    yield float(np.linalg.norm(unit - direction)) - 2 * np.sqrt(share / widest)


@search("thm-18-hypergradient", tolerance=1e-6, cost=20)
def hypergradient(draw: Draw) -> Iterator[float]:
    """A net of one hidden layer; against differences of the meta loss itself."""
    size, number = int(draw.integers(2, 5)), int(draw.integers(2, 9))
    rate = power(draw, -2, 0)
    x, y = draw.normal(size=(number, 3)), draw.integers(size, size=number)
    x_meta, y_meta = draw.normal(size=(6, 3)), draw.integers(size, size=6)
    theta, s = 0.7 * draw.normal(size=12 + 4 * size), draw.normal(size=size)

    def losses(theta: Array, x: Array, y: Labels, s: Array) -> tuple[Array, Array, Array]:
        """Each sample's loss, its gradient, and its label's probability."""
        w1, w2 = theta[:12].reshape(3, 4), theta[12:].reshape(4, size)
        hidden = np.tanh(x @ w1)
        hot = np.eye(size)[y]
        moved = hidden @ w2 + s[y][:, None] * (1 - 2 * hot)
        p = probabilities(moved)
        push = p - hot
        back = (push @ w2.T) * (1 - hidden**2)
        first = np.einsum("ni,nj->nij", x, back).reshape(len(x), -1)
        second = np.einsum("ni,nj->nij", hidden, push).reshape(len(x), -1)
        own = p[np.arange(len(y)), y]
        return -np.log(own), np.c_[first, second], own

    plain = np.zeros(size)

    def ahead(s: Array) -> Array:
        return np.asarray(theta - rate * losses(theta, x, y, s)[1].mean(0))

    def meta(s: Array) -> float:
        return float(losses(ahead(s), x_meta, y_meta, plain)[0].mean())

    v = losses(ahead(s), x_meta, y_meta, plain)[1].mean(0)
    slopes, own = losses(theta, x, y, s)[1:]
    ends = [losses(theta + r * v, x, y, s)[2] for r in (1e-5, -1e-5)]
    for c in range(size):
        step = 1e-4 * one_hot(c, size)
        direct = (meta(s + step) - meta(s - step)) / 2e-4
        mine = y == c
        yield abs(direct + 2 * rate / number * (own * (slopes @ v))[mine].sum())
        moved = ((ends[0] - ends[1]) / 2e-5)[mine].sum()
        yield abs(direct - 2 * rate / number * moved)


@search("prop-18-noise")
def label_noise(draw: Draw) -> Iterator[float]:
    size = int(draw.integers(2, 9))
    prior, p = uneven(draw, size), probabilities(3 * draw.normal(size=size))
    rate = draw.uniform(0, 1 - 1 / size) * 0.999
    b = rate / (size - 1)
    mixing = np.full((size, size), b) + (1 - rate - b) * np.eye(size)
    noisy = (p @ mixing) / (prior @ mixing)
    share = (1 - rate - b) * prior / ((1 - rate - b) * prior + b)
    yield float(np.abs(noisy / (share * p / prior + 1 - share) - 1).max())
    order = prior.argsort()
    yield float(-np.diff(share[order]).min())
    yield from (-share.min(), share.max() - 1)
