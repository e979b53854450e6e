"""Two normal classes: closed forms against sampling and against a search.

A Monte Carlo share of n draws has the standard error sqrt(R (1 - R) / n).
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from reference import sample
from scipy.optimize import minimize, minimize_scalar

from lpl_lib.book.theory.boundary import (
    balanced_bias,
    break_even_shift,
    equal_error_bias,
    optimal_bias,
    perturbed_risk,
    turning_point,
)
from lpl_lib.book.theory.gaussians import TwoGaussians, class_errors

# separation, spread ratio, prior ratio, bounds: 24 settings
SETTINGS = [
    (m, k, v, ep, en)
    for (m, k), (v, ep, en) in itertools.product(
        [(1.0, 1.0), (1.5, 2.0), (2.0, 3.0), (1.2, 0.6)],
        [
            (1.0, 0.0, 0.0),
            (1.0, 0.4, 0.4),
            (4.0, 0.5, -0.5),
            (4.0, 0.6, 0.0),
            (4.0, 0.0, -0.8),
            (0.5, -0.3, 0.2),
        ],
    )
]
WIDE_AND_RARE = [
    TwoGaussians(m, k, v, s)
    for m in (0.8, 1.5, 2.5)
    for k in (1.0, 1.3, 2.0, 4.0)
    for v in (1.0, 2.0, 10.0)
    for s in (0.7, 1.0)
]
HARD = [model for model in WIDE_AND_RARE if model.spread_ratio * model.prior_ratio > 1]


def biases(model: TwoGaussians, bounds: list[tuple[float, float]]) -> list[float]:
    return [float(optimal_bias(model, *pair)) for pair in bounds]


@pytest.mark.parametrize("index", range(len(SETTINGS)))
def test_sampled_errors_agree_within_three_standard_errors(index: int) -> None:
    m, k, v, ep, en = SETTINGS[index]
    model, dimension, number = TwoGaussians(m, k, v), 8, 50_000
    plus, minus = sample(model, number, dimension, np.random.default_rng(index))
    w = np.full(dimension, 1 / np.sqrt(dimension))
    bias = float(optimal_bias(model, ep, en))
    assert np.isfinite(bias)
    exact = class_errors(model, bias)
    for found, error in (
        ((plus @ w + bias < 0).mean(), exact.plus),
        ((minus @ w + bias > 0).mean(), exact.minus),
    ):
        assert abs(found - error) <= 3 * np.sqrt(error * (1 - error) / number)


def test_optimum_beats_every_bias_on_a_grid() -> None:
    """300 random settings, also those in which a class is given up; tolerance 1e-12."""
    rng = np.random.default_rng(0)
    grid = np.concatenate([[-np.inf, np.inf], np.linspace(-30, 30, 4001)])
    given_up = 0
    for _ in range(300):
        model = TwoGaussians(
            rng.uniform(0.2, 3),
            rng.choice([0.4, 1, 1.3, 2, 4]),
            rng.choice([0.2, 1, 3, 20]),
        )
        ep, en = rng.uniform(-1.5, 1.5, 2)
        best = float(optimal_bias(model, ep, en))
        given_up += not np.isfinite(best)
        risk = float(perturbed_risk(model, best, ep, en))
        assert risk <= perturbed_risk(model, grid, ep, en).min() + 1e-12
    assert 0 < given_up < 200


def test_optimum_is_where_a_minimiser_finds_it() -> None:
    """To 1e-6: a minimum is found to about the root of the machine's precision."""
    for model, bounds in itertools.product(HARD, [(0.0, 0.0), (0.3, -0.2), (-0.4, -0.1)]):
        best = float(optimal_bias(model, *bounds))
        found = minimize_scalar(
            lambda b, model=model, bounds=bounds: float(perturbed_risk(model, b, *bounds)),
            bounds=(best - 1, best + 0.7),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert abs(found.x - best) < 1e-6


def test_nearly_equal_spreads_join_the_case_of_equal_ones() -> None:
    equal = optimal_bias(TwoGaussians(1.0, 1.0, 5.0))
    for k in (1 - 1e-9, 1 + 1e-9):
        assert abs(optimal_bias(TwoGaussians(1.0, k, 5.0)) - equal) < 1e-8


def test_both_forms_of_the_optimum_agree_where_half_the_distance_changes_sign() -> None:
    model = TwoGaussians(1.0, 2.0, 3.0)
    around = optimal_bias(model, 1 + np.array([-1e-9, 0.0, 1e-9]), 1.0)
    assert np.ptp(around) < 1e-8


def test_best_direction_is_that_of_the_means() -> None:
    """In four dimensions, by a search over all linear classifiers; cosine to 1e-6."""
    rng = np.random.default_rng(1)
    model, dimension, bounds = TwoGaussians(1.4, 2.0, 3.0), 4, (0.3, -0.2)
    theta = model.separation / np.sqrt(dimension)

    def risk(solution: np.ndarray) -> float:
        w, b = solution[:-1], solution[-1]
        along = theta * w.sum() / np.linalg.norm(w)
        turned = TwoGaussians(max(along, 1e-9), model.spread_ratio, model.prior_ratio)
        return float(perturbed_risk(turned, b, *bounds))

    starts = [np.r_[np.ones(4) + 0.5 * rng.normal(size=4), 0.0] for _ in range(4)]
    best = min((minimize(risk, start) for start in starts), key=lambda found: found.fun)
    w = best.x[:-1]
    assert w.sum() / np.linalg.norm(w) / 2 > 1 - 1e-6
    assert abs(best.x[-1] - float(optimal_bias(model, *bounds))) < 1e-3


def test_errors_at_the_equal_error_bias() -> None:
    for model in WIDE_AND_RARE:
        errors = class_errors(model, equal_error_bias(model))
        assert abs(errors.plus - errors.minus) < 1e-14
        for near in (-0.01, 0.01):
            assert errors.worst < class_errors(model, equal_error_bias(model) + near).worst


def test_hard_class_is_told_by_spread_times_prior() -> None:
    """sign(R+ - R-) = sign(K V - 1), unless a class is given up altogether.

    At K V = 1 the two causes cancel (to 1e-13) if the common error is below the share of
    the rarer class, 1 / (1 + K); else it is better to give that class up.
    """
    spreads, priors = (0.5, 1.0, 2.0, 3.0), (0.25, 0.7, 1.0, 5.0)
    for m, k, v in itertools.product((1.0, 2.0), spreads, priors):
        model = TwoGaussians(m, k, v)
        bias = float(optimal_bias(model))
        errors = class_errors(model, bias)
        if np.isfinite(bias) and abs(k * v - 1) > 1e-9:
            assert np.sign(errors.plus - errors.minus) == np.sign(k * v - 1)
        cancelled = TwoGaussians(m, k, 1 / k)
        errors = class_errors(cancelled, float(optimal_bias(cancelled)))
        common = class_errors(cancelled, equal_error_bias(cancelled)).plus
        if common < 1 / (1 + max(k, 1 / k)):
            assert abs(errors.plus - errors.minus) < 1e-13
        else:
            assert errors.worst == 1


def test_opposite_bounds_are_a_pure_shift() -> None:
    for model, a in itertools.product(WIDE_AND_RARE, (-0.3, 0.2, 1.0)):
        assert abs(optimal_bias(model, a, -a) - optimal_bias(model) - a) < 1e-13


def test_worst_class_error_falls_up_to_the_equal_error_point() -> None:
    for model in HARD:
        start = float(optimal_bias(model))
        a = np.linspace(0, 2 * (equal_error_bias(model) - start), 81)
        assert a[-1] > 0
        worst = class_errors(model, start + a).worst
        assert (np.diff(worst[:41]) < 0).all()
        assert (np.diff(worst[40:]) > 0).all()


def test_balanced_error_falls_up_to_the_balanced_point_and_not_for_equal_priors() -> None:
    for model in WIDE_AND_RARE:
        start, stop = float(optimal_bias(model)), balanced_bias(model)
        if model.prior_ratio == 1:
            assert stop == start  # no shift can help
            continue
        assert start < stop <= equal_error_bias(model) + 1e-13
        assert (stop == equal_error_bias(model)) == (model.spread_ratio == 1)
        falling = class_errors(model, np.linspace(start, stop, 41)).balanced
        rising = class_errors(model, np.linspace(stop, stop + 0.5, 41)).balanced
        assert (np.diff(falling) < 0).all()
        assert (np.diff(rising) > 0).all()


def test_every_perturbation_raises_the_average_error() -> None:
    rng = np.random.default_rng(2)
    for model in WIDE_AND_RARE:
        best = class_errors(model, float(optimal_bias(model))).average
        bounds = rng.uniform(-0.7, 0.7, (20, 2))
        moved = class_errors(model, optimal_bias(model, *bounds.T)).average
        assert (moved >= best - 1e-15).all()


def test_break_even_shift() -> None:
    for model in WIDE_AND_RARE:
        start, shift = float(optimal_bias(model)), break_even_shift(model)
        errors = class_errors(model, start + np.array([0, shift / 2, shift, shift + 0.1]))
        assert abs(errors.balanced[2] - errors.balanced[0]) < 1e-12
        assert errors.balanced[3] > errors.balanced[0]
        if model.prior_ratio > 1:
            assert errors.balanced[1] < errors.balanced[0]
        if model.spread_ratio == 1:
            twice = 2 * (balanced_bias(model) - start)
            assert abs(shift - twice) < 1e-9


def test_equal_bounds_for_both_classes_hurt_the_hard_one() -> None:
    for model in HARD:
        eps = np.linspace(-0.6, 0.6, 25)
        errors = class_errors(model, optimal_bias(model, eps, eps))
        assert (np.diff(errors.plus) > 0).all()
        assert (np.diff(errors.minus) < 0).all()


def test_positive_augmentation_of_the_hard_class_turns_back() -> None:
    """Error of + falls up to the turning point and rises beyond; values to 1e-12."""
    turned = 0
    for model in HARD:
        turn = turning_point(model)
        eps = np.linspace(-0.5, 2 * model.separation - 0.05, 400)
        plus = class_errors(model, optimal_bias(model, eps)).plus
        steps = np.diff(plus)
        assert (steps[eps[1:] <= turn] < 0).all()
        assert (steps[eps[:-1] >= turn] >= -1e-9).all()  # where it is all but 1
        if turn > 0:
            turned += 1
            bias = float(optimal_bias(model, turn))
            assert abs(bias + model.separation - turn) < 1e-12  # half miss the margin
    assert turned > 30


def test_turning_point_is_where_half_the_class_misses_its_margin() -> None:
    """So positive augmentation helps at first exactly if the error of + is below 1/2."""
    for model in HARD:
        error = class_errors(model, float(optimal_bias(model))).plus
        assert (turning_point(model) > 0) == (error < 0.5)


def test_beyond_the_turning_point_the_class_is_given_up() -> None:
    for model in HARD:
        far = class_errors(model, optimal_bias(model, 60.0))
        assert far.plus > 0.999


def test_negative_augmentation_of_the_easy_class_never_turns_back() -> None:
    for model in HARD:
        eps = -np.linspace(0, 4, 81)
        errors = class_errors(model, optimal_bias(model, 0.0, eps))
        moving = errors.plus > 1e-12
        assert (np.diff(errors.plus)[moving[1:]] < 0).all()


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="spread_ratio must be a finite number > 0"):
        TwoGaussians(1.0, 0.0)
    with pytest.raises(ValueError, match="prior_ratio >= 1"):
        turning_point(TwoGaussians(1.0, 2.0, 0.5))
    with pytest.raises(ValueError, match="name the wide or rare class"):
        break_even_shift(TwoGaussians(1.0, 0.5, 5.0))
