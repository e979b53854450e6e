"""The population solution of logistic regression with class-level gaps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import sample
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from lpl_lib.book.theory.boundary import balanced_bias, equal_error_bias, optimal_bias
from lpl_lib.book.theory.gaussians import TwoGaussians, class_errors
from lpl_lib.book.theory.logistic import LogisticFit, logistic_fit

# separation, spread ratio, prior ratio, gaps
SETTINGS = [
    (1.5, 2.0, 1.0, 0.0, 0.0),
    (1.5, 2.0, 1.0, 0.6, -0.6),
    (1.0, 1.0, 10.0, 1.5, 0.0),
    (1.0, 1.0, 10.0, 0.0, -1.5),
    (1.5, 2.0, 5.0, 0.3, -1.0),
    (2.0, 3.0, 2.0, 1.0, 1.0),
]


def stationarity(model: TwoGaussians, fit: LogisticFit, gaps: tuple[float, float]) -> float:
    """Largest residual of the stationary equations, by adaptive quadrature."""
    m, s = model.separation, model.sigma

    def mean(power: int, gap: float, sign: int, spread: float) -> float:
        def pull(z: float) -> float:
            f = fit.slope * z + fit.logit_bias
            weight = norm.pdf(z, sign * m, spread)
            return float(expit(gap - sign * f) * z**power * weight)

        centre = sign * m
        edges = (centre - 10 * spread, centre + 10 * spread)
        return quad(pull, *edges, points=[centre], epsabs=1e-12)[0]

    return max(
        abs(
            model.prior_plus * mean(power, gaps[0], 1, model.spread_ratio * s)
            - model.prior_minus * mean(power, gaps[1], -1, s)
        )
        for power in (0, 1)
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_solution_is_stationary(setting: tuple[float, ...]) -> None:
    """To 1e-10, by another way of integrating."""
    model, gaps = TwoGaussians(*setting[:3], sigma=0.8), setting[3:]
    assert stationarity(model, logistic_fit(model, *gaps), gaps) < 1e-10


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_training_on_samples_agrees_within_three_standard_errors(
    setting: tuple[float, ...],
) -> None:
    """Logistic regression on 40 sets of 20,000 points in four dimensions.

    The error rates of the trained classifiers are computed exactly, so that what
    remains is the scatter of training; it gives the standard error of their mean. A
    finite sample also costs a bias of order 1/n, far below the tolerance.
    """
    *shape, gap_plus, gap_minus = setting
    model, rng = TwoGaussians(*shape), np.random.default_rng(5)
    number, repeats = 10_000, 40
    found = []
    for _ in range(repeats):
        x = torch.tensor(np.concatenate(sample(model, number, 4, rng)))
        x = torch.cat([x, torch.ones(2 * number, 1, dtype=x.dtype)], 1)
        sign = torch.ones(2 * number, dtype=x.dtype)
        sign[number:] = -1
        gap = torch.where(sign > 0, gap_plus, gap_minus)
        weight = torch.where(sign > 0, model.prior_plus, model.prior_minus) / number
        w = torch.zeros(5, dtype=x.dtype)
        for _ in range(12):  # Newton's method
            p = torch.sigmoid(gap - sign * (x @ w))
            slope = x.T @ (-sign * weight * p)
            curve = (x * (weight * p * (1 - p))[:, None]).T @ x
            w = w - torch.linalg.solve(curve, slope)
        assert float(slope.abs().max()) < 1e-9
        along = float(w[:4].sum() / w[:4].norm()) * model.separation / 2
        trained = TwoGaussians(along, model.spread_ratio, model.prior_ratio)
        errors = class_errors(trained, float(w[4] / w[:4].norm()))
        found.append([float(errors.plus), float(errors.minus)])
    mean, spread = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(repeats)
    exact = class_errors(model, logistic_fit(model, gap_plus, gap_minus).bias)
    assert (np.abs(mean - [exact.plus, exact.minus]) <= 3 * spread + 2e-5).all()


def test_equal_spreads_give_fishers_discriminant() -> None:
    for m, v, sigma in itertools.product((0.5, 1.0, 3.0), (0.2, 1.0, 8.0), (0.5, 1.0)):
        model = TwoGaussians(m, 1.0, v, sigma)
        fit = logistic_fit(model)
        assert abs(fit.slope - 2 * m / sigma**2) < 1e-8
        assert abs(fit.logit_bias + np.log(v)) < 1e-8
        assert abs(fit.bias - float(optimal_bias(model))) < 1e-8


def test_opposite_gaps_are_absorbed_by_the_bias() -> None:
    """Slope unchanged, bias moved by exactly the gap (to 1e-9)."""
    for (m, k, v), g in itertools.product(
        [(1.0, 1.0, 10.0), (1.5, 2.0, 1.0), (2.0, 3.0, 4.0)], (-2.0, 0.8, 3.0)
    ):
        model = TwoGaussians(m, k, v)
        plain, moved = logistic_fit(model), logistic_fit(model, g, -g)
        assert abs(moved.slope - plain.slope) < 1e-9
        assert abs(moved.logit_bias - plain.logit_bias - g) < 1e-9
        both = logistic_fit(model, 0.7 + g, 0.7 - g)
        common = logistic_fit(model, 0.7, 0.7)
        assert abs(both.slope - common.slope) < 1e-9
        assert common.slope > plain.slope + 0.01  # what is not absorbed does change it


def test_wide_class_has_the_larger_error() -> None:
    """At the trained slope, and for a rare class too."""
    for m, k, v in itertools.product((0.5, 2.0, 6.0), (1.0, 1.2, 3.0, 8.0), (1.0, 4.0)):
        model = TwoGaussians(m, k, v)
        if k * v > 1:
            assert logistic_fit(model).bias < equal_error_bias(model)


def test_positive_gap_of_the_rare_class_cannot_lift_the_other_error_above_its_cap() -> None:
    """R- <= 2/V whatever the gap; so the balanced optimum may be out of reach."""
    for m, k, v in itertools.product((0.5, 1.0, 2.0), (1.0, 2.0), (3.0, 20.0, 100.0)):
        model = TwoGaussians(m, k, v)
        fits = [logistic_fit(model, gap) for gap in (0.0, 1.0, 3.0, 9.0, 40.0)]
        rates = [float(class_errors(model, fit.bias).minus) for fit in fits]
        assert (np.diff(rates) > 0).all()
        assert max(rates) <= 2 / v
        if class_errors(model, balanced_bias(model)).minus > 2 / v:
            assert fits[-1].bias < balanced_bias(model)


@pytest.mark.slow
def test_negative_gap_of_the_frequent_class_reaches_any_boundary() -> None:
    for m, k, v in itertools.product((0.5, 1.0, 2.0), (1.0, 2.0), (3.0, 20.0)):
        model = TwoGaussians(m, k, v)
        biases = [logistic_fit(model, 0.0, -gap).bias for gap in np.arange(0, 14, 1.0)]
        assert (np.diff(biases) > 0).all()
        assert biases[-1] > max(balanced_bias(model), equal_error_bias(model))


def test_the_gap_of_an_l_infinity_bound_is_twice_the_bound() -> None:
    f = torch.tensor([0.3, -1.2], dtype=torch.float64)
    logits = torch.stack([f / 2, -f / 2], 1) + torch.tensor(
        [-0.4, 0.4], dtype=torch.float64
    )
    loss = F.cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    torch.testing.assert_close(loss, F.softplus(2 * 0.4 - f), rtol=1e-12, atol=1e-12)


def test_bad_gaps_are_refused() -> None:
    for gaps in ((np.nan, 0.0), (-np.inf, 0.0), (0.0, np.inf)):
        with pytest.raises(ValueError, match="must be a finite number"):
            logistic_fit(TwoGaussians(1.0, 1.0, 5.0), *gaps)
