"""The confidence split as a controller: no switch, and sliding."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from lpl_lib.book.theory.sliding import simulate_split


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
def test_a_large_gap_slides_along_the_balanced_border_ever_steeper():
    slopes = []
    for gap in (1.5, 3.0):
        path = simulate_split(gap * math.log(4), 4.0, lr=0.1, steps=4000)
        assert abs(float(path.bias[2000:].mean())) < 0.05
        assert {-1.0, 1.0} == set(path.sign[2000:].tolist())
        slopes.append(float(path.slope[2000:].mean()))
    assert 2.3 < slopes[0] < slopes[1] - 1


@pytest.mark.slow
def test_the_chatter_is_proportional_to_the_learning_rate():
    def width(lr: float) -> float:
        lead = simulate_split(2.5, 4.0, lr=lr, steps=int(300 / lr)).lead
        return float(lead[len(lead) // 2 :].max() - lead[len(lead) // 2 :].min())

    assert width(0.4) / width(0.1) == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_split(1.0, 0.0), "ratio must be"),
        (lambda: simulate_split(1.0, 1.0, mean=0), "mean must be"),
        (lambda: simulate_split(-1.0, 4.0), "gap must be"),
        (lambda: simulate_split(1.0, 4.0, lr=0), "lr must be"),
        (lambda: simulate_split(1.0, 4.0, steps=0), "steps must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
