"""Chapters 15 and 16: several labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    logistic,
    minimised,
    normal,
    power,
    search,
)

Curve = Callable[[Array], Array]


def fit(x: Array, t: Array, up: float = 0.0, down: float = 0.0) -> Array:
    """Weights and a free bias at the minimum of BCE, shifted on either side."""
    shift = np.where(t > 0, up, down)

    def objective(z: Array) -> tuple[float, Array]:
        u = x @ z[:-1] + z[-1]
        value = (np.logaddexp(0, u + shift) - t * (u + shift)).mean()
        value += 0.05 * z[:-1] @ z[:-1]
        push = (logistic(u + shift) - t) / len(t)
        return float(value), np.r_[x.T @ push + 0.1 * z[:-1], push.sum()]

    return minimised(objective, np.zeros(x.shape[1] + 1), gtol=1e-10)


def images(draw: Draw) -> tuple[Array, Array]:
    t = np.r_[1.0, 0.0, draw.random(int(draw.integers(5, 60))) < draw.uniform(0.05, 0.9)]
    return draw.normal(size=(len(t), 3)) + t[:, None] * draw.normal(size=3), t


@search("prop-15-pulls", tolerance=1e-6, cost=10)
def pulls(draw: Draw) -> Iterator[float]:
    x, t = images(draw)
    z = fit(x, t)
    p = logistic(x @ z[:-1] + z[-1])
    missing, wrong = 1 - p[t > 0].mean(), p[t == 0].mean()  # 1 - q of either side
    yield abs(t.sum() * missing - (1 - t).sum() * wrong) / len(t)
    yield abs(missing / wrong / ((1 - t.mean()) / t.mean()) - 1) - 1e-5


@search("thm-15-variation", tolerance=1e-9)
def binary(draw: Draw) -> Iterator[float]:
    u, delta = (float(x) for x in normal(draw, 2))
    p, q = logistic(u), logistic(-u)
    plus = np.logaddexp(0, -u - delta) - np.logaddexp(0, -u)
    minus = np.logaddexp(0, u + delta) - np.logaddexp(0, u)
    scale = 1 + abs(delta)
    yield abs(plus - np.log(p + q * np.exp(-delta))) / scale
    yield abs(minus - np.log(q + p * np.exp(delta))) / scale
    yield from (np.sign(delta) * plus, -np.sign(delta) * minus)
    yield from ((abs(plus) - abs(delta)) / scale, (abs(minus) - abs(delta)) / scale)


def shift_of(value: float, u: float) -> float:
    """What moves a negative's logit so that BCE has this value."""
    return float(value + np.log(-np.expm1(-value)) - u)


@search("prop-15-limits", tolerance=1e-8)
def limits(draw: Draw) -> Iterator[float]:
    scale, u = 1 + power(draw, -1, 1), draw.uniform(-20, 20)

    def shift(u: float) -> float:
        return shift_of(float(np.logaddexp(0, scale * u)) / scale, u)

    yield shift(u)
    yield abs(shift(400.0))
    low = -max(40.0, 40 / scale)
    yield abs(shift(low) - (scale - 1) * low + np.log(scale))
    margin, p = draw.uniform(0.01, 0.5), float(logistic(u))
    if p > margin + 1e-6:
        found = shift_of(-np.log(1 - (p - margin)), u)
        yield abs(found - np.log((p - margin) / (1 - p + margin)) + u) - 1e-6
        yield found


def curves(draw: Draw) -> tuple[Curve, Curve]:
    """A curve that never rises and one that never falls, from steps and slopes."""
    places, heights = 5 * draw.normal(size=6), draw.exponential(size=6)
    sharp = power(draw, -1, 2)

    def rising(u: Array) -> Array:
        return np.asarray((heights * logistic(sharp * (u[..., None] - places))).sum(-1))

    return (lambda u: rising(-u)), rising


@search("thm-16-closed")
def closed(draw: Draw) -> Iterator[float]:
    for curve, side in zip(curves(draw), (-1, 1), strict=True):
        v, radius = normal(draw, int(draw.integers(1, 9))), power(draw, -2, 1)
        weight = draw.exponential(size=len(v))
        tried = [weight @ curve(v + d) for d in radius * draw.uniform(-1, 1, 20)]
        size = 1 + weight.sum()
        yield (max(tried) - weight @ curve(v + side * radius)) / size
        yield (weight @ curve(v - side * radius) - min(tried)) / size
    u, delta = (float(x) for x in normal(draw, 2))
    p, q = logistic(u), logistic(-u)
    if abs(delta) < 30 and abs(u) < 30:
        yield abs(logistic(-u - delta) / (q / (q + p * np.exp(delta))) - 1)
        yield abs(logistic(u + delta) / (p / (p + q * np.exp(-delta))) - 1)


def average_precision(score: Array, t: Array) -> float:
    right = t[np.argsort(-score, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(t) + 1)
    return float(precision[right > 0].mean())


@search("prop-16-ap")
def order(draw: Draw) -> Iterator[float]:
    t = np.r_[1.0, 0.0, draw.random(20) < 0.4]
    u, shift = draw.normal(size=22), draw.normal() * power(draw, -1, 1)
    yield abs(average_precision(u, t) - average_precision(u + shift, t))

    def area(u: Array) -> float:
        return float((u[t > 0][:, None] > u[t == 0]).mean())

    yield abs(area(u) - area(u + shift))


@search("thm-16-absorption", tolerance=1e-4, cost=50)
def absorbed(draw: Draw) -> Iterator[float]:
    x, t = images(draw)
    (up, down), a = draw.normal(size=2), draw.normal() * power(draw, -1, 0.5)
    one, two = fit(x, t, up, down), fit(x, t, up + a, down + a)
    yield float(np.abs(one[:-1] - two[:-1]).max())
    yield abs(float(one[-1] - two[-1] - a))

    def path(up: float, down: float, start: Array, adam: bool) -> Array:
        z, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
        for k in range(1, 31):
            u = x @ z[:-1] + z[-1] + np.where(t > 0, up, down)
            push = (logistic(u) - t) / len(t)
            slope = np.r_[x.T @ push + 0.01 * z[:-1], push.sum()]
            first = 0.9 * first + (1 - 0.9 * adam) * slope
            second = 0.999 * second + 0.001 * slope**2
            step = first
            if adam:
                step = first / (1 - 0.9**k) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
            z = z - 0.1 * step
        return z

    start, bias = draw.normal(size=4), np.array([0, 0, 0, 1.0])
    for adam in (False, True):
        moved = path(up + a, down + a, start, adam)
        plain = path(up, down, start + a * bias, adam)
        yield float(np.abs(moved + a * bias - plain).max()) / (1 + abs(a))
