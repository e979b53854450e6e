"""Chapter 12: two Gaussians. The best boundary comes from the densities, not the boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from benchmarks.counterexamples.draws import (
    Array,
    Draw,
    labelled,
    logistic,
    minimised,
    power,
    search,
    softmax_fit,
)


@dataclass(frozen=True)
class Pair:
    """Class + is ``K`` times as wide, class - is ``V`` times as frequent."""

    K: float
    V: float
    m: float
    s: float

    def plus(self, b: float) -> float:
        return float(ndtr(-(self.m + b) / (self.K * self.s)))

    def minus(self, b: float) -> float:
        return float(ndtr(-(self.m - b) / self.s))

    def risk(
        self, b: float, up: float = 0.0, down: float = 0.0, lean: float = 1.0
    ) -> float:
        """The perturbed risk; ``lean`` is the cosine between ``w`` and the best one."""
        wide = ndtr((up - lean * self.m - b) / (self.K * self.s))
        slim = ndtr((down - lean * self.m + b) / self.s)
        return float((wide + self.V * slim) / (1 + self.V))

    def fair(self, b: float) -> float:
        return (self.plus(b) + self.minus(b)) / 2

    def stationary(self, up: float = 0.0, down: float = 0.0) -> Array:
        """Where the weighted densities of the perturbed classes cross, from the left."""
        if self.K == 1:  # the squares cancel, and one crossing is left
            m = self.m - (up + down) / 2
            return np.array([(up - down) / 2 - self.s**2 * np.log(self.V) / (2 * m)])
        wide = np.array([1.0, self.m - up]) / (self.K * self.s)
        slim = np.array([1.0, down - self.m]) / self.s
        square = np.polymul(slim, slim) - np.polymul(wide, wide)
        roots = np.roots(np.polyadd(square, [-2 * np.log(self.K * self.V)]))
        return np.sort(roots[np.isreal(roots)].real)

    def best(self, up: float = 0.0, down: float = 0.0) -> float:
        """The bias with the least perturbed risk; infinite if a finite one has more."""
        ends, inner = [-np.inf, np.inf], [*self.stationary(up, down)]
        b, end = (
            min(places, key=lambda b: self.risk(b, up, down), default=np.inf)
            for places in (inner, ends)
        )
        given_up = self.risk(end, up, down) < self.risk(b, up, down) - 1e-15
        return float(end if given_up else b)


def hard(draw: Draw, narrow: bool = False) -> Pair:
    """``K >= 1``, ``V >= 1``, ``KV > 1``; any ``K`` and ``V`` if ``narrow``."""
    k, v = 1 + power(draw, -1.5, 0.8), 1 + power(draw, -1.5, 2)
    k, v = [(k, v), (1.0, v), (k, 1.0)][int(draw.choice(3, p=[0.6, 0.2, 0.2]))]
    if narrow:
        k, v = [(k, v), (1 / k, v), (k, 1 / v), (k, 1 / k)][draw.integers(4)]
    return Pair(k, v, power(draw, -0.7, 0.7), power(draw, -0.3, 0.3))


@search("prop-12-errors")
def errors(draw: Draw) -> Iterator[float]:
    """Formulas against 4,000 sampled points; any other direction does worse."""
    pair, d, b = hard(draw, narrow=True), int(draw.integers(1, 6)), draw.normal()
    for side, width, formula in ((1, pair.K, pair.plus(b)), (-1, 1.0, pair.minus(b))):
        x = side * pair.m / np.sqrt(d) + width * pair.s * draw.normal(size=(4000, d))
        w = draw.normal(size=d)
        w /= np.linalg.norm(w)
        score = x.sum(1) / np.sqrt(d) + b
        missed = float((side * score <= 0).mean())
        yield abs(missed - formula) - 6 * np.sqrt(formula * (1 - formula) / 4000) - 0.004
        lean = w.sum() / np.sqrt(d)
        yield formula - ndtr(-(lean * pair.m + side * b) / (width * pair.s))


def boxed_best(pair: Pair, m: float) -> float:
    if pair.K == 1:
        return float(-(pair.s**2) * np.log(pair.V) / (2 * m))
    square = pair.K**2 - 1
    root = np.sqrt(m**2 + pair.s**2 / 2 * square * np.log(pair.K * pair.V))
    return float(((pair.K**2 + 1) * m - 2 * pair.K * root) / square)


@search("thm-12-best")
def best(draw: Draw) -> Iterator[float]:
    pair = hard(draw)
    b = boxed_best(pair, pair.m)
    reach = pair.K * pair.s + pair.m
    for other in (b + reach * draw.normal() * power(draw, -3, 2), np.inf, -np.inf):
        yield pair.risk(b) - pair.risk(other)
    left = np.sort(b - reach * 10 ** draw.uniform(-3, 2, 2))
    yield pair.risk(left[1]) - pair.risk(left[0])
    end = pair.stationary()[-1] if pair.K > 1 else b + 100 * reach
    right = np.sort(draw.uniform(b, end, 2))
    yield pair.risk(right[0]) - pair.risk(right[1])


@search("thm-12-hard", tolerance=1e-8)
def who_is_hard(draw: Draw) -> float:
    pair = hard(draw, narrow=True)
    b = pair.best()
    if pair.risk(b) > min(1, pair.V) / (1 + pair.V) - 1e-13:
        return 0.0  # a class is given up, or may be
    gap, side = pair.plus(b) - pair.minus(b), np.log(pair.K * pair.V)
    return float(abs(gap) if abs(side) < 1e-12 else -gap * np.sign(side))


@search("thm-12-bounds")
def shift_and_distance(draw: Draw) -> Iterator[float]:
    pair = hard(draw)
    up, down = pair.m * draw.normal(size=2) * power(draw, -1, 1)
    if pair.K == 1 and up + down >= 1.99 * pair.m:
        up, down = -abs(up), -abs(down)
    b = (up - down) / 2 + boxed_best(pair, pair.m - (up + down) / 2)
    least = pair.risk(b, up, down)
    for _ in range(4):
        other = b + draw.normal() * power(draw, -3, 2)
        lean = draw.uniform(-1, 1) if draw.random() < 0.5 else 1 - power(draw, -4, 0)
        yield least - pair.risk(other, up, down, lean)
    yield least - pair.risk(pair.best(up, down), up, down)


@search("thm-12-shift")
def what_a_shift_can_do(draw: Draw) -> Iterator[float]:
    pair = hard(draw)
    start = pair.best()
    even = brentq(lambda b: pair.plus(b) - pair.minus(b), -pair.m, pair.m, xtol=1e-14)
    equal = even - start
    fair = Pair(pair.K, 1.0, pair.m, pair.s)
    turns = fair.stationary() - start
    a_fair, last = turns[0], turns[-1] if pair.K > 1 else np.inf
    reach = pair.K * pair.s + pair.m

    def worst(a: float) -> float:
        return max(pair.plus(start + a), pair.minus(start + a))

    yield -equal
    yield from (-a_fair, a_fair - equal)
    yield a_fair if pair.V == 1 else 1e-9 - a_fair
    yield abs(a_fair - equal) if pair.K == 1 else 0.0
    near = np.sort(draw.uniform(0, equal, 2))
    far = equal + np.sort(draw.exponential(reach, 2))
    yield worst(near[1]) - worst(near[0])
    yield worst(far[0]) - worst(far[1])
    for low, high, side in ((0.0, a_fair, 1), (a_fair, min(last, a_fair + 9 * reach), -1)):
        pick = np.sort(draw.uniform(low, high, 2)) + start
        yield side * (pair.fair(pick[1]) - pair.fair(pick[0]))
    yield 0.5 - pair.fair(start + last + draw.exponential(reach)) if pair.K > 1 else 0.0
    grid = start + a_fair * np.r_[1e-3:1:50j] if pair.V > 1 else []
    yield from (pair.fair(b) - pair.fair(start) for b in grid)
    if pair.K == 1 and pair.V > 1:
        twice = start + pair.s**2 * np.log(pair.V) / pair.m
        yield abs(pair.fair(twice) - pair.fair(start))
    up, down = pair.m * draw.normal(size=2)
    yield pair.risk(start) - pair.risk(pair.best(up, down) if pair.K > 1 else up - down)


@search("prop-12-uniform", tolerance=1e-7)
def uniform(draw: Draw) -> Iterator[float]:
    pair = hard(draw)
    low, high = np.sort(pair.m * (1 - 10 ** draw.uniform(-2, 1, 2)))
    one, other = pair.best(low, low), pair.best(high, high)
    yield pair.plus(one) - pair.plus(other)
    yield pair.minus(other) - pair.minus(one)


@search("thm-12-half")
def half_rule(draw: Draw, narrow: bool = False) -> float:
    pair = hard(draw, narrow)
    up = pair.m * (2 - power(draw, -2, 1)) if pair.K == 1 else pair.m * 3 * draw.normal()
    b, step = pair.best(up), 1e-4 * pair.m
    missed = ndtr((up - pair.m - b) / (pair.K * pair.s))
    rises = pair.best(up + step / 2) - pair.best(up - step / 2)
    if abs(missed - 0.5) < 1e-3:
        return 0.0
    return float((rises > 0) != (missed < 0.5) or (missed < 0.5) != (up < pair.m + b))


@search("cor-12-turn", tolerance=1e-7)
def turning_point(draw: Draw) -> Iterator[float]:
    pair = hard(draw)
    most = pair.s * np.sqrt(2 * np.log(pair.K * pair.V))
    turn = 2 * pair.m - most
    yield abs(pair.best(turn) - pair.m + most)
    yield abs(pair.plus(pair.best(turn)) - ndtr(-turn / (pair.K * pair.s)))
    width = min(2 * pair.m - turn, 3 * pair.m) if pair.K == 1 else 3 * pair.m
    before = turn - np.sort(draw.uniform(0, 3 * pair.m, 2))[::-1]
    after = turn + np.sort(draw.uniform(0, 0.99 * width, 2))
    error = [pair.plus(pair.best(up)) for up in (*before, turn, *after)]
    yield from (error[1] - error[0], error[2] - error[1])
    yield from (error[2] - error[3], error[3] - error[4])
    if pair.K == 1:
        yield 0.99 - pair.plus(pair.best(2 * pair.m - 1e-3 * pair.s**2 * np.log(pair.V)))
    else:
        yield 0.99 - pair.plus(pair.best(1e3 * pair.K * (pair.m + pair.K * pair.s)))
    if pair.plus(pair.best()) > 0.5 + 1e-9:
        yield turn
        yield pair.plus(pair.best()) - pair.plus(pair.best(power(draw, -2, 0) * pair.m))
    downs = [pair.best(0.0, down) for down in (0.0, -pair.m, -1e4 * pair.m)]
    yield from (downs[0] - downs[1], 100 * pair.m - downs[2])


# --- a loss that can be trained -----------------------------------------------------------


@search("prop-12-absorb", tolerance=1e-4, cost=50)
def absorption(draw: Draw) -> Iterator[float]:
    size = int(draw.integers(2, 5))
    x, y = labelled(draw, size)
    g, rows = draw.normal(size=size), draw.normal(size=(size, 1))
    w, b = softmax_fit(x, y, np.zeros((size, size)))
    shared, moved = softmax_fit(x, y, g + rows)
    yield float(np.abs(shared - w).max())
    yield float(np.abs((moved + g) - (moved + g).mean() - b + b.mean()).max())
    x, y = labelled(draw, 2)
    up, down = 2 * draw.normal(size=2)
    gaps = softmax_fit(x, y, np.diag([-up, -down]))  # class 0 is class +
    mean = softmax_fit(x, y, np.diag([-(up + down) / 2] * 2))
    yield float(np.abs(gaps[0] - mean[0]).max())
    yield float(abs(-np.diff(gaps[1] - mean[1])[0] - (up - down) / 2))


NODES = np.linspace(-9, 9, 2001)
MASS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def free_bias(pair: Pair, a: float, up: float = 0.0, down: float = 0.0) -> float:
    """The bias of {eq}`eq-12-logistic` at a slope: where the two pulls are equal."""
    wide, slim = a * pair.K * pair.s * NODES, a * pair.s * NODES

    def pull(b: float) -> float:
        plus = MASS @ logistic(up - a * pair.m - b - wide)
        return float(plus - pair.V * (MASS @ logistic(down - a * pair.m + b + slim)))

    reach = 20 + a * (pair.m + 10 * pair.K * pair.s) + abs(up) + abs(down)
    return float(brentq(pull, -reach, reach, xtol=1e-12))


@search("lem-12-wide", cost=5)
def wide_errs_more(draw: Draw, narrow: bool = False) -> float:
    pair = hard(draw, narrow)
    a = power(draw, -2, 1.5) / (pair.K * pair.s)
    b = free_bias(pair, a) / a
    return pair.minus(b) - pair.plus(b)


@search("thm-12-ceiling", tolerance=1e-7, cost=20)
def ceiling(draw: Draw) -> Iterator[float]:
    """Part 1 for any scores whatever, with the bias at its minimum; 3 far down."""
    ratio = power(draw, -1, 2)
    plus = draw.normal(size=int(draw.integers(1, 9))) * power(draw, -1, 1)
    minus = draw.normal(size=int(draw.integers(1, 9))) * power(draw, -1, 1)
    up = draw.normal() * power(draw, -1, 1.3)

    def pull(b: float) -> float:
        return float(logistic(up - plus - b).mean() - ratio * logistic(minus + b).mean())

    b = brentq(pull, -300, 300, xtol=1e-12)
    yield float(logistic(minus + b).mean() - 1 / ratio)
    yield float((minus + b > 0).mean() - 2 / ratio)
    pair = hard(draw)
    a = power(draw, -1, 1) / (pair.K * pair.s)
    pushed = free_bias(pair, a, up=abs(up) * 5) / a
    yield pair.minus(pushed) - 2 / pair.V

    def lowered(down: float) -> float:
        wide, slim = pair.K * pair.s * NODES + pair.m, pair.s * NODES - pair.m

        def objective(z: Array) -> tuple[float, Array]:
            f, h = z[0] * wide + z[1], z[0] * slim + z[1] + down
            value = MASS @ np.logaddexp(0, -f) + pair.V * (MASS @ np.logaddexp(0, h))
            one, two = -MASS * logistic(-f), pair.V * MASS * logistic(h)
            return float(value), np.array([one @ wide + two @ slim, one.sum() + two.sum()])

        a, b = minimised(objective, np.array([1.0, 0.0]), gtol=1e-11)
        return float(ndtr(-(a * pair.m + b) / (abs(a) * pair.K * pair.s)))

    missed = [lowered(down) for down in (0.0, -8.0, -25.0)]
    yield from (missed[1] - missed[0], missed[2] - 1e-3)
