"""Chapters 4 and 14: the inner problem and what its solutions do to gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import root
from scipy.special import lambertw

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    excess,
    loss,
    normal,
    one_hot,
    power,
    probabilities,
    sample,
    search,
)


def group(draw: Draw, high: int = 8) -> Array:
    """Logits of a few samples of class 0, ``(n, C)``."""
    return normal(draw, int(draw.integers(1, 6)), int(draw.integers(2, high + 1)))


def mean_loss(u: Array, delta: Array) -> float:
    return float(loss(u + delta, 0).mean())


def gradient(u: Array, delta: Array) -> Array:
    """Of the mean loss, with an own entry that keeps its digits where it is tiny."""
    p = probabilities(u + delta).mean(0)
    p[0] = -p[1:].sum()
    return p


def towards(u: Array, delta: Array, radius: float) -> Array:
    g = gradient(u, delta)
    return radius * g / np.linalg.norm(g)


def ball(draw: Draw, size: int, radius: float) -> Array:
    d = draw.normal(size=size)
    return np.asarray(radius * draw.random() ** (1 / size) * d / np.linalg.norm(d))


def climbed(u: Array, radius: float, start: Array) -> Array:
    for _ in range(3000):
        step = towards(u, start, radius)
        if np.abs(step - start).max() < 1e-13 * radius:
            break
        start = step
    return start


def lowest(u: Array, radius: float, start: Array) -> Array:
    """Projected gradient steps that cannot be too long: the curvature is at most 1/2."""
    moved, before, t = start, start, 1.0
    for _ in range(20_000):
        g = gradient(u, moved)
        after = moved - 2 * g
        after *= min(1.0, radius / float(np.linalg.norm(after)))
        t_after = (1 + np.sqrt(1 + 4 * t * t)) / 2
        if (moved - after) @ (after - before) > 0:
            t_after = 1.0
        moved = after + (t - 1) / t_after * (after - before)
        if np.abs(after - before).max() < 1e-14 * radius:
            return after
        before, t = after, t_after
    return before


@search("thm-4-sphere", tolerance=1e-4, cost=50)
def sphere(draw: Draw) -> Iterator[float]:
    u = np.clip(group(draw), -6, 6)
    radius, size = power(draw, -1, 0.5), u.shape[1]
    one, two = ball(draw, size, 5), ball(draw, size, 5)
    middle = mean_loss(u, (one + two) / 2)
    yield middle - (mean_loss(u, one) + mean_loss(u, two)) / 2
    yield -np.abs(gradient(u, one)).max()
    tops = [climbed(u, radius, ball(draw, size, radius)) for _ in range(6)]
    top = max(tops, key=lambda d: mean_loss(u, d))
    rivals = np.array([mean_loss(u, ball(draw, size, radius)) for _ in range(50)])
    yield float(rivals.max() - mean_loss(u, top))
    yield float(np.abs(top - towards(u, top, radius)).max() / radius)
    bottom = lowest(u, radius, np.zeros(size))
    other = lowest(u, radius, ball(draw, size, radius))
    yield float(np.abs(bottom - other).max() / radius)
    yield float(np.abs(bottom + towards(u, bottom, radius)).max() / radius)
    yield from (abs(bottom.sum()) / radius, abs(top.sum()) / radius)
    start = ball(draw, size, radius)
    run = root(lambda d: d + towards(u, d, radius), start, tol=1e-12)
    if run.success and np.abs(run.fun).max() < 1e-10:
        yield float(np.abs(run.x - bottom).max() / radius)


@search("thm-4-linf")
def cube(draw: Draw) -> Iterator[float]:
    u, other, y = sample(draw)
    radius = power(draw, -2, 1)
    corner = radius * (1 - 2 * one_hot(y, len(u)))
    inside = np.clip(other, -radius, radius)
    scale = 1 + radius
    yield float(loss(u + inside, y) - loss(u + corner, y)) / scale
    yield float(loss(u - corner, y) - loss(u + inside, y)) / scale
    for sign in (1, -1):  # the log odds are -excess
        moved = excess(u + sign * corner, y) - excess(u, y)
        yield abs(float(moved) - 2 * sign * radius) / scale


@search("prop-4-climb")
def climb(draw: Draw) -> float:
    u, radius = group(draw), power(draw, -2, 2)
    start = ball(draw, u.shape[1], radius)
    return (mean_loss(u, start) - mean_loss(u, towards(u, start, radius))) / (1 + radius)


@search("prop-4-respects", cost=5)
def algorithm(draw: Draw) -> Iterator[float]:
    u, radius = group(draw), power(draw, -1, 1)
    step = radius * power(draw, -2, 0)
    for sign in (1, -1):
        delta = np.zeros(u.shape[1])
        for _ in range(int(radius / step)):
            delta = delta + sign * step * gradient(u, delta)
        top, length = np.abs(delta).max(), np.linalg.norm(delta)
        yield float(top >= radius)
        yield abs(np.abs(delta).sum() - 2 * top)
        yield from (length - np.sqrt(2) * top, length - np.sqrt(2) * radius)


@search("thm-4-flow", tolerance=1e-4, cost=100)
def flow(draw: Draw) -> Iterator[float]:
    """Steps of two lengths, and what they tend to as the length goes to zero."""
    size, log_odds = int(draw.integers(2, 20)), draw.uniform(-6, 4)
    radius, kappa = power(draw, -1, 0.7), size / (size - 1)
    start = np.r_[log_odds + np.log(size - 1), np.zeros(size - 1)]
    for sign in (1, -1):
        ends = []
        for number in (1000, 2000):
            u = start
            for _ in range(number):
                p = probabilities(u)
                g = p - one_hot(0, size)
                u = u + sign * radius / number * g
            ends.append(-float(excess(u, 0)))
        odds = np.exp(log_odds)
        boxed = lambertw(odds * np.exp(odds - sign * kappa * radius)).real
        yield abs(2 * ends[1] - ends[0] - np.log(boxed))


# --- chapter 14 ---------------------------------------------------------------------------


@search("thm-14-weight", tolerance=1e-8)
def reweighting(draw: Draw) -> Iterator[float]:
    u, delta, y = sample(draw)
    size, radius = len(u), power(draw, -2, 0.8)
    p, hot = probabilities(u), one_hot(y, size)
    right = p[y]
    for sign in (1, -1):
        moved = probabilities(u + sign * radius * (1 - 2 * hot))
        weight = 1 / (1 - right + right * np.exp(-2 * sign * radius))
        yield float(np.abs(moved - hot - weight * (p - hot)).max() / max(weight, 1))
        q = np.sort(draw.random(2))
        low, high = 1 / (1 - q + q * np.exp(-2 * sign * radius))
        yield sign * (low - high)
        ends = np.sort([0.0, 2 * sign * radius])
        yield from (ends[0] - np.log(weight), np.log(weight) - ends[1])
    rivals = np.delete(p, y)
    gap = np.log(rivals / rivals.sum() @ np.exp(np.delete(delta, y) - delta[y]))
    if abs(gap) < 500:
        sent = np.delete(probabilities(u + delta), y)
        weight = 1 / (1 - right + right * np.exp(-gap))
        yield abs(sent.sum() - weight * rivals.sum()) - 1e-9 * weight
        shares = rivals * np.exp(np.delete(delta, y))
        yield float(np.abs(sent / sent.sum() - shares / shares.sum()).max())


@search("prop-14-envelope", tolerance=1e-5, cost=50)
def envelope(draw: Draw) -> Iterator[float]:
    """Both norms; where the best perturbation is not unique, its gradient is not tried."""
    one = np.clip(group(draw, 5), -4, 4)
    two = np.clip(one + normal(draw, *one.shape), -6, 6)
    radius, size = power(draw, -1, 0.3), one.shape[1]
    corner = radius * (1 - 2 * one_hot(0, size))
    starts = [ball(draw, size, radius) for _ in range(8)]

    def highest(u: Array) -> list[Array]:
        ends = [climbed(u, radius, start) for start in starts]
        return sorted(ends, key=lambda d: -mean_loss(u, d))

    middle = (one + two) / 2
    for sign in (1, -1):
        ends = [mean_loss(u, sign * corner) for u in (one, middle, two)]
        yield ends[1] - (ends[0] + ends[2]) / 2
    tops = [mean_loss(u, highest(u)[0]) for u in (one, middle, two)]
    yield tops[1] - (tops[0] + tops[2]) / 2
    low = [lowest(u, radius, np.zeros(size)) for u in (one, middle, two)]
    ends = [mean_loss(u, d) for u, d in zip((one, middle, two), low, strict=True)]
    yield ends[1] - (ends[0] + ends[2]) / 2
    way, step = draw.normal(size=one.shape), 1e-4

    def along(delta: Array) -> float:
        push = probabilities(one + delta) - one_hot(0, size)
        return float((push * way).sum() / len(one))

    sides = [lowest(one + s * way, radius, low[0]) for s in (step, -step)]
    slope = mean_loss(one + step * way, sides[0])
    slope -= mean_loss(one - step * way, sides[1])
    yield abs(slope / (2 * step) - along(low[0]))
    best = highest(one)
    near = [d for d in best if mean_loss(one, best[0]) - mean_loss(one, d) < 1e-3]
    if max(np.abs(d - best[0]).max() for d in near) < 1e-6:
        sides = [climbed(one + s * way, radius, best[0]) for s in (step, -step)]
        slope = mean_loss(one + step * way, sides[0])
        slope -= mean_loss(one - step * way, sides[1])
        yield abs(slope / (2 * step) - along(best[0]))
