"""Chapters 13, 14 and 16: which error a table minimises, thresholds, symmetric tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq, least_squares

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    logistic,
    power,
    probabilities,
    search,
    uneven,
)


def chain(table: Array, u: Array) -> Array:
    return probabilities(u + table)


def stationary(steps: Array) -> Array:
    """The row vector ``eta`` with ``eta @ steps = eta`` and sum 1, by one inverse."""
    return np.asarray(np.linalg.inv(np.eye(len(steps)) - steps + 1).sum(0))


def best(table: Array, eta: Array, start: Array | None = None) -> Array:
    """The logits with the least expected loss, by Newton's method with halved steps."""
    u = np.zeros(len(eta)) if start is None else start

    def value(u: Array) -> float:
        moved = u + table
        return float(eta @ (np.logaddexp.reduce(moved, axis=1) - np.diag(moved)))

    for _ in range(200):
        p = chain(table, u)
        slope = eta @ p - eta
        if np.abs(slope).max() < 1e-15:
            break
        curve = np.diag(eta @ p) - (eta[:, None] * p).T @ p
        step = np.linalg.solve(curve + 1, slope)
        share = min(1.0, 5 / max(np.abs(step).max(), 1e-300))
        while share > 1e-9 and value(u - share * step) > value(u) + 1e-13:
            share /= 2
        u = u - share * step
    return np.asarray(u - u.max())


def family(v: Array, s: float, draw: Draw) -> Array:
    """The theorem's table, with a constant added to each row."""
    return np.log(v + s * np.eye(len(v))) + 2 * draw.normal(size=(len(v), 1))


def member(table: Array, tolerance: float) -> bool:
    """Whether off its diagonal each row is in proportion to one ``v``, with one ``s``."""
    entries = np.exp(table - np.diag(table)[:, None])
    size = len(entries)
    v = np.ones(size)
    for k in range(1, size):
        c = next(c for c in range(size) if c not in (0, k))
        v[k] = entries[c, k] / entries[c, 0]
    off = ~np.eye(size, dtype=bool)
    scales = np.where(off, entries / v, np.nan)
    rows = np.nanmean(scales, 1)
    uneven_row = np.nanmax(np.abs(scales / rows[:, None] - 1))
    s = 1 / rows - v
    return bool(uneven_row < tolerance and np.ptp(s) < tolerance * (v + np.abs(s)).max())


def bend(table: Array, draw: Draw, number: int = 8) -> float:
    """By how much the log odds vary on the borders, at most, over random ties."""
    size, found = len(table), 0.0
    for a in range(size):
        for b in range(a):
            odds = []
            for _ in range(number):
                u = -4 * np.abs(draw.normal(size=size))
                u[[a, b]] = 0
                eta = stationary(chain(table, u))
                odds.append(np.log(eta[a] / eta[b]))
            found = max(found, float(np.ptp(odds)))
    return found


def misranked(u: Array, score: Array) -> float:
    """By how much two classes stand in another order by logit than by score."""
    gap, lead = u[:, None] - u, np.log(score)[:, None] - np.log(score)
    return float(np.max(-gap * lead))


def posterior(draw: Draw, size: int, v: Array | float = 1.0) -> Array:
    """In every second one two classes are nearly tied by ``eta / v``, often the best."""
    score = draw.normal(size=size) * draw.uniform(0, 3)
    if draw.random() < 0.5:
        first, second = score.argsort()[[-1, -2]]
        score[second] = score[first] - power(draw, -3, 0)
    return probabilities(score + np.log(v))


@search("lem-13-chain", tolerance=1e-6, cost=10)
def lemma(draw: Draw) -> Iterator[float]:
    size = int(draw.integers(2, 9))
    table, u = 2 * draw.normal(size=(size, size)), 3 * draw.normal(size=size)
    eta = stationary(chain(table, u))
    yield -eta.min()

    def value(u: Array, eta: Array) -> float:
        moved = u + table
        return float(eta @ (np.logaddexp.reduce(moved, axis=1) - np.diag(moved)))

    step = 1e-5 * np.eye(size)
    slope = [(value(u + e, eta) - value(u - e, eta)) / 2e-5 for e in step]
    yield float(np.abs(slope).max())
    other = posterior(draw, size)
    slope = [(value(u + e, other) - value(u - e, other)) / 2e-5 for e in step]
    yield float(np.abs(slope).max() < 1e-4 * np.abs(other - eta).max())
    one, two = best(table, other), best(table, other, 3 * draw.normal(size=size))
    yield float(np.abs(one - two).max())
    yield float(np.abs(stationary(chain(table, one)) - other).max())


@search("thm-13-tables", cost=20)
def consistent_tables(draw: Draw) -> Iterator[float]:
    """If: the order of the best logits. Only if: a table that is none bends a border."""
    size = int(draw.integers(3, 9))
    v = uneven(draw, size) if draw.random() < 0.5 else posterior(draw, size)
    s = float(v.min()) * (-1 + power(draw, -3, 2))
    yield misranked(best(family(v, s, draw), eta := posterior(draw, size, v)), eta / v)
    size = int(draw.integers(3, 6))
    v = posterior(draw, size)
    other = family(v, float(v.min()) * (-1 + power(draw, -0.5, 1)), draw)
    kind = draw.integers(3)
    if kind == 0:
        other = draw.normal(size=(size, size)) * power(draw, -1, 0.5)
    elif kind == 1:
        other[*draw.integers(size, size=2)] += draw.choice([-1, 1]) * power(draw, -1, 0.5)
    else:
        other += np.diag(draw.normal(size=size)) * power(draw, -1, 0.3)
    yield float(not member(other, 1e-6) and bend(other, draw) < 1e-8)
    if draw.random() < 0.2:
        yield descent(draw)


def descent(draw: Draw) -> float:
    """Go down to a table of three classes that bends nothing: is it of the family?"""
    off = ~np.eye(3, dtype=bool)

    def table_of(z: Array) -> Array:
        table = np.zeros((3, 3))
        table[off] = z
        return table

    def residuals(z: Array) -> Array:
        found = []
        for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            u = np.zeros((6, 3))
            u[:, c] = np.log([1e-6, 0.05, 0.25, 0.5, 0.75, 1])
            eta = np.array([stationary(chain(table_of(z), row)) for row in u])
            odds = np.log(eta[:, a] / eta[:, b])
            found.append(odds - odds.mean())
        return np.concatenate(found)

    run = least_squares(residuals, draw.normal(size=6), xtol=1e-15, ftol=1e-15)
    straight = run.cost < 1e-22 and np.abs(run.x).max() < 6
    return float(straight and not member(table_of(run.x), 1e-3))


@search("prop-13-weights", cost=5)
def class_weights(draw: Draw) -> float:
    size = int(draw.integers(2, 9))
    prior, alpha = uneven(draw, size), np.exp(draw.normal(size=size))
    v = alpha * prior
    table = family(v, float(v.min()) * (-1 + power(draw, -3, 2)), draw)
    eta = posterior(draw, size, prior)
    return misranked(best(table, alpha * eta / (alpha @ eta)), eta / prior)


@search("cor-13-la", cost=20)
def on_top_of_la(draw: Draw) -> Iterator[float]:
    size = int(draw.integers(3, 7))
    prior = np.clip(posterior(draw, size), 1e-3, None)
    prior /= prior.sum()
    la = np.tile(np.log(prior), (size, 1))
    s = float(prior.min()) * (-1 + power(draw, -2, 2))
    eta = posterior(draw, size, prior)
    yield misranked(best(la + np.diag(np.log1p(s / prior)), eta), eta / prior)
    sides = draw.permutation(np.r_[1, -1, draw.choice([-1, 0, 1], size - 2)])
    lpl = sides * draw.uniform(0.1, 1, size) * power(draw, -1, 0)
    margins = power(draw, -1, 0.5) * (prior / prior.min()) ** -0.25
    for shifts in (2 * lpl, -margins):
        table = la + np.diag(shifts)
        yield float(member(table, 1e-7) or bend(table, draw) < 1e-8)


@search("cor-13-margin", cost=5)
def free_margins(draw: Draw) -> Iterator[float]:
    prior = uneven(draw, int(draw.integers(3, 9)))
    s = -float(prior.min()) * (1 - power(draw, -9, -0.01))
    margins = -np.log1p(s / prior)
    yield -margins.min()
    order = prior.argsort()
    yield float(np.diff(margins[order])[np.diff(prior[order]) > 0].max(initial=-1) >= 0)
    yield 27 + np.log1p(-(1 - 1e-12))  # the rarest class's, near the end
    eta = posterior(draw, len(prior), prior)
    yield misranked(best(np.log(prior) - np.diag(margins), eta), eta / prior)


# --- chapter 14 ---------------------------------------------------------------------------


def turning_odds(up: float, down: float) -> float:
    """The posterior odds at which the best score is zero: the slope there vanishes."""

    def slope(log_odds: float) -> float:
        plus, minus = logistic(log_odds), logistic(-log_odds)
        return float(minus * logistic(down) - plus * logistic(up))

    return float(np.exp(brentq(slope, -80, 80, xtol=1e-13)))


def best_score(eta: float, up: float, down: float) -> float:
    def slope(f: float) -> float:
        return float((1 - eta) * logistic(f + down) - eta * logistic(up - f))

    return float(brentq(slope, -200, 200, xtol=1e-13))


def threshold(draw: Draw) -> Iterator[float]:
    up, down = draw.normal(size=2) * power(draw, -1, 1)
    odds = (1 + np.exp(-up)) / (1 + np.exp(-down))
    yield abs(turning_odds(up, down) / odds - 1)
    eta = logistic(np.log(odds) + draw.normal() * power(draw, -3, 1))
    if 1e-9 < eta < 1 - 1e-9:
        score = best_score(float(eta), up, down)
        yield -score * np.sign(np.log(eta / (1 - eta)) - np.log(odds))
    raised = turning_odds(abs(up), abs(down))
    yield from (0.5 - raised, raised - 2)
    prior = uneven(draw, 2)
    tilt = np.log(prior[1] / prior[0])
    yield abs(turning_odds(tilt, -tilt) / (prior[0] / prior[1]) - 1)


@search("thm-14-threshold", tolerance=1e-8, cost=2)
def threshold_of_two(draw: Draw) -> Iterator[float]:
    yield from threshold(draw)
    wanted = power(draw, -3, 3)
    gap = -np.log(2 * max(wanted, 1 / wanted) - 1)  # of one class, lowered alone
    found = turning_odds(gap, 0.0) if wanted > 1 else turning_odds(0.0, gap)
    yield abs(found / wanted - 1)


@search("thm-16-threshold", tolerance=1e-8, cost=4)
def threshold_of_a_label(draw: Draw) -> Iterator[float]:
    yield from threshold(draw)
    up, down, prior = power(draw, -1, 1.5), -power(draw, -1, 1), draw.uniform(1e-4, 0.499)
    yield 0.5 - turning_odds(up, 0.0)  # odds of one half: a threshold of one third
    lowered = turning_odds(0.0, down)
    yield lowered - 1
    exact = -np.log(2 * (1 - prior) / prior - 1)
    yield abs(turning_odds(0.0, exact) / (prior / (1 - prior)) - 1)
    both = np.log((1 - prior) / prior)
    yield abs(turning_odds(both, -both) / (prior / (1 - prior)) - 1)
