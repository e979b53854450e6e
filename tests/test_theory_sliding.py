"""The confidence split as a controller: no switch, sliding, and noisy signs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import fsolve
from scipy.special import expit
from scipy.stats import norm

from lpl_lib.book.theory.sliding import (
    effective_sign,
    hard_sign,
    simulate_split,
    sliding_point,
)


def averages(gap: float, ratio: float, lr: float) -> np.ndarray:
    """Slope, bias and duty over the second half of a long path."""
    path = simulate_split(gap, ratio, lr=lr, steps=int(400 / lr))
    half = len(path.sign) // 2
    tail = [part[half:].mean().item() for part in (path.slope, path.bias, path.sign)]
    return np.array([tail[0], tail[1], (1 + tail[2]) / 2])


def integral(f, mean: float) -> float:
    return quad(lambda x: f(x) * norm.pdf(x - mean), mean - 9, mean + 9, epsabs=1e-11)[0]


def test_the_start_is_the_optimum_of_cross_entropy():
    path = simulate_split(0.0, 4.0, mean=0.8, steps=200)
    assert path.slope[-1].item() == pytest.approx(1.6, abs=1e-9)
    assert path.bias[-1].item() == pytest.approx(-math.log(4), abs=1e-9)
    behind = 1 - integral(lambda x: expit(1.6 * x - math.log(4)), 0.8)
    ahead = 1 - integral(lambda x: expit(1.6 * x + math.log(4)), 0.8)
    assert path.lead[0].item() == pytest.approx(behind - ahead, abs=1e-9)


@pytest.mark.slow
def test_a_small_gap_never_switches_and_moves_the_bias_by_itself():
    path = simulate_split(0.7, 4.0, steps=2000)
    assert (path.sign == 1).all()
    assert path.bias[-1].item() == pytest.approx(0.7 - math.log(4), abs=1e-6)
    assert path.slope[-1].item() == pytest.approx(2, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("gap", "ratio"), [(2.0794, 4.0), (5.5452, 4.0), (4.5, 20.0)])
def test_a_large_gap_slides_to_filippovs_point(gap, ratio):
    """Time averages, extrapolated to a learning rate of zero, within 0.01."""
    coarse, fine = averages(gap, ratio, 0.4), averages(gap, ratio, 0.1)
    limit = (4 * fine - coarse) / 3
    point = sliding_point(gap, ratio)
    assert limit == pytest.approx([point.slope, 0.0, point.duty], abs=1e-2)


@pytest.mark.slow
def test_the_chatter_is_proportional_to_the_learning_rate():
    def width(lr: float) -> float:
        lead = simulate_split(2.5, 4.0, lr=lr, steps=int(300 / lr)).lead
        return float(lead[len(lead) // 2 :].max() - lead[len(lead) // 2 :].min())

    assert width(0.4) / width(0.1) == pytest.approx(4, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gap", "ratio", "mean"), [(2.0, 4.0, 1.0), (3.0, 2.0, 0.5), (9.0, 100.0, 2.0)]
)
def test_sliding_point_solves_filippovs_equations(gap, ratio, mean):
    """The equations with both descent directions, by quadrature and ``fsolve``."""
    rare = 1 / (1 + ratio)

    def slope_of(a: float, shift: float) -> np.ndarray:
        def rows(power: int) -> float:
            up = integral(lambda x: x**power * expit(shift - a * x), mean)
            down = integral(lambda x: x**power * expit(-shift - a * x), mean)
            return -rare * up + (-1) ** (power + 1) * -(1 - rare) * down

        return np.array([rows(1), rows(0)])

    def equations(v: np.ndarray) -> np.ndarray:
        return v[1] * slope_of(v[0], gap) + (1 - v[1]) * slope_of(v[0], -gap)

    point = sliding_point(gap, ratio, mean=mean)
    found = fsolve(equations, [point.slope * 1.05, 0.9], xtol=1e-12)
    assert found == pytest.approx([point.slope, point.duty], abs=1e-8)


def test_over_confidence_begins_at_the_log_ratio_and_grows_with_the_gap():
    ratio = 4.0
    start = sliding_point(math.log(ratio), ratio)
    assert start == pytest.approx((2.0, 1.0), abs=1e-9)
    slopes = [sliding_point(k * math.log(ratio), ratio).slope for k in (1, 1.5, 2, 4, 8)]
    assert (np.diff(slopes) > 0).all()
    duties = [sliding_point(k * math.log(ratio), ratio).duty for k in (1, 1.5, 2, 4, 8)]
    assert (np.diff(duties) < 0).all()


@pytest.mark.slow
def test_a_smooth_sign_comes_to_rest_beside_the_surface():
    """The mean sign of small batches does not chatter; a difference of the confidences
    remains, as large as it takes to produce the sign that is needed."""

    def smooth(lead: torch.Tensor) -> torch.Tensor:
        return effective_sign(lead, 0.4, samples=4)

    path = simulate_split(4.0, 4.0, decide=smooth, steps=3000)
    assert float(path.sign[-500:].std()) < 1e-4
    assert float(path.lead[-1]) > 0.01  # not on the surface: a remaining difference
    assert float(path.bias[-1]) < 0


def test_effective_sign_against_drawn_batches():
    """Normal confidences: exact up to the Monte Carlo error, within 4 standard errors."""
    draw = torch.Generator().manual_seed(0)
    for samples in (1, 4, 16):
        drawn = 0.6 + 0.2 * torch.randn(20000, samples, generator=draw)
        signs = torch.sign(0.65 - drawn.mean(1))
        expected = float(effective_sign(torch.tensor(0.05), 0.2, samples))
        error = float(signs.std()) / math.sqrt(len(signs))
        assert abs(float(signs.mean()) - expected) < 4 * error


def test_effective_sign_of_skewed_confidences_is_roughly_right():
    """Beta distributed confidences: the normal formula is good to 0.04."""
    rng = np.random.default_rng(6)
    for samples in (1, 5, 12):
        drawn = rng.beta(2, 2, size=(20000, samples)).mean(1)
        sign = np.sign(0.55 - drawn).mean()
        expected = float(effective_sign(torch.tensor(0.05), math.sqrt(0.05), samples))
        assert sign == pytest.approx(expected, abs=0.04)


def test_hard_sign_is_one_or_minus_one():
    assert hard_sign(torch.tensor([0.3, 0.0, -2.0])).tolist() == [1, -1, -1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sliding_point(1.0, 4.0), "gap must be"),
        (lambda: sliding_point(1.0, 0.5), "ratio must be"),
        (lambda: sliding_point(0.0, 1.0), "gap must be"),
        (lambda: sliding_point(1.0, 1.0, mean=0), "mean must be"),
        (lambda: simulate_split(-1.0, 4.0), "gap must be"),
        (lambda: simulate_split(1.0, 4.0, lr=0), "lr must be"),
        (lambda: simulate_split(1.0, 4.0, steps=0), "steps must be"),
        (lambda: effective_sign(torch.tensor(0.1), 0.3, 0), "samples must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
