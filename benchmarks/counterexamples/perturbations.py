"""Chapters 1, 2, 11 and 7: what a perturbation does to a loss; noise; label smoothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    excess,
    loss,
    minimised,
    normal,
    one_hot,
    power,
    probabilities,
    sample,
    search,
    uneven,
)


def variation(u: Array, delta: Array, y: int) -> float:
    return float(loss(u + delta, y) - loss(u, y))


def effective_gap(u: Array, delta: Array, y: int) -> float:
    """``log E exp(delta_c - delta_y)`` over the rivals ``c``, by their shares."""
    return float(excess(u + delta, y) - excess(u, y))


@search("prop-exact")
def exact(draw: Draw) -> Iterator[float]:
    u, delta, y = sample(draw)
    p, found = probabilities(u), variation(u, delta, y)
    yield abs(np.log(p @ np.exp(delta)) - delta[y] - found) / (1 + np.abs(delta).max())
    yield abs(np.log(p @ np.exp(delta - delta[y])) - found) / (1 + np.abs(delta).max())


@search("thm-sign")
def sign(draw: Draw) -> Iterator[float]:
    u, delta, y = sample(draw)
    p = probabilities(u)
    rivals = np.delete(p, y) / np.delete(p, y).sum()
    gap = np.log(rivals @ np.exp(np.delete(delta, y) - delta[y]))
    formula = np.log(p[y] + np.delete(p, y).sum() * np.exp(gap))
    yield abs(formula - variation(u, delta, y)) / (1 + np.abs(delta).max())
    yield -np.sign(gap) * formula


@search("prop-bounds")
def bounds(draw: Draw) -> Array:
    u, delta, y = sample(draw)
    p, found = probabilities(u), variation(u, delta, y)
    spread = np.ptp(delta)
    square = ((delta - delta.mean()) ** 2).sum()
    rest = found - (p @ delta - delta[y])
    variance = p @ (delta - p @ delta) ** 2
    fails = [
        abs(found) - spread,
        -rest,
        rest - min(spread**2 / 8, square / 4),
        found - (delta.max() - delta[y]),
        variance / 2 - np.delete(p, y).sum() * square,
    ]
    return np.array(fails) / (1 + spread**2)


@search("prop-ldam", tolerance=1e-8)
def ldam(draw: Draw) -> Iterator[float]:
    u, _, y = sample(draw)
    margin = power(draw, -2, 1)
    p = probabilities(u)
    found = variation(u, -margin * one_hot(y, len(u)), y)
    yield abs(found - np.log(p[y] + np.delete(p, y).sum() * np.exp(margin)))
    yield from (-found, found - margin)
    wrong = np.sort(10 ** draw.uniform(-9, -0.01, 2))  # 1 - p_y
    rises = np.log1p(wrong * np.expm1(margin)) / -np.log1p(-wrong)
    yield (rises[1] - rises[0]) / rises[0]
    yield rises[0] / np.expm1(margin) - 1
    easy = np.log1p(1e-13 * np.expm1(margin)) / 1e-13
    yield abs(easy / np.expm1(margin) - 1) - 1e-7
    yield np.log1p(np.expm1(margin) - np.exp(margin - 600)) / 600 - margin / 599  # hopeless


@search("thm-la")
def adjustment(draw: Draw) -> Iterator[float]:
    u, _, y = sample(draw)
    size = len(u)
    prior, tau = uneven(draw, size), power(draw, -2, 0.7)
    delta = tau * np.log(prior)

    def change(y: int, u: Array = u, tau: float = tau) -> tuple[float, float]:
        """By the loss, and by the mean of the theorem, both with its sign."""
        p = probabilities(u)
        rivals = np.delete(p, y) / np.delete(p, y).sum()
        mean = rivals @ (np.delete(prior, y) / prior[y]) ** tau - 1
        return variation(u, tau * np.log(prior), y), float(mean)

    found, mean = change(y)
    yield -np.sign(mean) * found / (1 + np.abs(delta).max())
    yield float(change(int(prior.argmax()))[1] >= 0)
    yield float(change(int(prior.argmin()))[1] <= 0)
    even = np.where(np.arange(size) == y, u[y], 0.0)
    if abs(prior[y] - 1 / size) > 1e-9:
        yield float(change(y, even, 1.0)[1] * (prior[y] - 1 / size) >= 0)


@search("prop-isda")
def isda(draw: Draw) -> Iterator[float]:
    u, _, y = sample(draw)
    depth = int(draw.integers(1, 5))
    apart = normal(draw, len(u), depth)
    apart -= apart[y]
    root = draw.normal(size=(depth, int(draw.integers(0, depth + 1))))
    delta = np.minimum(0.5 * power(draw, -1, 1) * ((apart @ root) ** 2).sum(1), 300)
    rise = np.delete(probabilities(u), y) @ np.expm1(np.delete(delta, y))
    yield -variation(u, delta, y)
    yield float(rise <= 0 < delta.max() and np.delete(u, y).min() > u[y] - 500)


@search("prop-any-loss", tolerance=1e-7)
def any_loss(draw: Draw) -> float:
    u, _, y = sample(draw)
    before, wanted = float(loss(u, y)), power(draw, -6, 1.5)
    shift = np.log(np.expm1(before) / np.expm1(wanted))
    return abs(float(loss(u + shift * one_hot(y, len(u)), y)) / wanted - 1)


# --- noise on the features ----------------------------------------------------------------


@search("prop-11-noise", tolerance=1e-10)
def zero_mean(draw: Draw) -> Iterator[float]:
    u, _, y = sample(draw)
    noise = normal(draw, int(draw.integers(2, 6)), len(u))  # of the logits: W xi
    mass = draw.dirichlet(np.ones(len(noise)))
    noise -= mass @ noise
    low, high = np.sort(draw.uniform(0, 2, 2))
    plain, some, more = (mass @ loss(u + s * noise, y) for s in (0, low, high))
    size = 1 + np.abs(noise).max()
    yield (plain - some) / size
    yield (some - more) / size
    p = probabilities(u)
    half = mass @ ((noise**2) @ p - (noise @ p) ** 2) / 2  # tr(W' H W Sigma) / 2
    both = (mass @ loss(u + low * noise, y) + mass @ loss(u - low * noise, y)) / 2
    spread = np.ptp(noise, axis=1)
    # the fourth cumulant of a bounded number is at most 3/16 of its range to the fourth
    rest = 3 / 16 * low**4 * (mass @ spread**4) / 24
    yield (abs(both - plain - low**2 * half) - rest) / size


NODES, MASS = np.polynomial.hermite_e.hermegauss(48)
MASS = MASS / MASS.sum()


@search("thm-11-isda", tolerance=1e-7)
def entropic(draw: Draw) -> Iterator[float]:
    """Two features, Gauss-Hermite quadrature; the rest is of second order in lambda."""
    size, y = int(draw.integers(2, 7)), 0
    u, w = normal(draw, size), draw.normal(size=(size, 2))
    root, scale = draw.normal(size=(2, 2)), power(draw, -3, 0)
    root *= np.sqrt(scale) / np.linalg.norm((w - w[y]) @ root, axis=1).max()
    noise = np.stack(np.meshgrid(NODES, NODES), -1).reshape(-1, 2) @ root.T
    mass = np.outer(MASS, MASS).ravel()
    noisy = loss(u + noise @ w.T, y)
    mean = mass @ noisy
    isda = float(loss(u + 0.5 * (((w - w[y]) @ root) ** 2).sum(1), y))
    yield abs(np.log(mass @ np.exp(noisy)) - isda)
    yield float(loss(u, y) - mean)
    yield mean - isda
    half = mass @ (noisy - mean) ** 2 / 2
    slope = (probabilities(u) - one_hot(y, size)) @ w @ root
    yield abs(isda - mean - half) - scale**2
    yield abs(isda - mean - slope @ slope / 2) - 2 * scale**2


@search("prop-11-match")
def one_shift(draw: Draw) -> Iterator[float]:
    margins, target = normal(draw, int(draw.integers(1, 9))), power(draw, -4, 1.5)

    def mean(t: float) -> float:
        return float(np.logaddexp(0, t - margins).mean())

    reach = np.abs(margins).max() + 60
    t = brentq(lambda t: mean(t) - target, -reach, reach, xtol=1e-13)
    yield abs(mean(t) - target) / (1 + target) - 1e-8
    step = power(draw, -4, 1)
    yield float(not mean(t - step) < mean(t) < mean(t + step))


@search("thm-11-gap", tolerance=1e-8)
def gap_of_noise(draw: Draw) -> Iterator[float]:
    gaps = draw.normal(size=int(draw.integers(1, 7))) * power(draw, -1, 0.7)
    mass = draw.dirichlet(np.ones(len(gaps)))

    def g(m: float) -> float:
        target = mass @ np.logaddexp(0, gaps - m)
        return float(m + target + np.log(-np.expm1(-target)))

    low, high = np.sort(draw.uniform(-25, 25, 2))
    least, most = mass @ gaps, np.log(mass @ np.exp(gaps))
    yield g(low) - g(high)
    yield least - g(low)
    yield g(high) - most
    reach = 25 + np.abs(gaps).max()
    yield abs(g(-reach) - least) - 1e-6
    yield abs(g(reach) - most) - 1e-6


@search("prop-11-average")
def averaging(draw: Draw) -> Iterator[float]:
    features = normal(draw, int(draw.integers(2, 8)), 3)
    head = draw.normal(size=(int(draw.integers(2, 7)), 3))
    number = len(features)
    orders = [draw.permutation(number) for _ in range(4)]
    parts = draw.dirichlet(np.ones(4))
    mixed = sum(part * features[order] for part, order in zip(parts, orders, strict=True))
    centre = features.mean(0)

    def mean(h: Array) -> float:
        return float(loss(h @ head.T, 0).mean())

    size = 1 + np.abs(features).max()
    yield (mean(centre[None]) - mean(mixed)) / size
    yield (mean(mixed) - mean(features)) / size
    low, high = np.sort(1 - 10 ** draw.uniform(-2, 1, 2))
    near, far = (features + rho * (centre - features) for rho in (high, low))
    yield (mean(near) - mean(far)) / (size * (1 + abs(low)))
    yield (mean(centre[None]) - mean(near)) / (size * (1 + abs(low)))


# --- label smoothing ----------------------------------------------------------------------


@search("thm-7-cap", tolerance=1e-4, cost=10)
def smoothing(draw: Draw) -> float:
    size, share = int(draw.integers(2, 9)), draw.uniform(0.02, 0.9)
    y, delta = int(draw.integers(size)), draw.normal(size=size) * power(draw, -1, 0.7)
    target = (1 - share) * one_hot(y, size) + share / size

    def objective(u: Array) -> tuple[float, Array]:
        logits = u + delta
        top = np.logaddexp.reduce(logits)
        return float(top - target @ logits), np.exp(logits - top) - target

    u = minimised(objective, draw.normal(size=size))
    cap = np.log1p(size * (1 - share) / share)
    return float(np.abs(np.delete(u[y] - u - cap + delta[y] - delta, y)).max())
