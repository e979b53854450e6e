"""Where statements of chapters 1 to 14 stop: each test fails for the wording without its
condition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import class_gradient
from scipy.special import ndtr
from torch import Tensor

from lpl_lib import ISDA, L2, ConfidenceSplit, LogitAdjustment, loss_variation
from lpl_lib.book.theory.boundary import optimal_bias
from lpl_lib.book.theory.gaussians import TwoGaussians
from lpl_lib.book.theory.logistic import logistic_fit
from lpl_lib.book.theory.tables import table_posterior
from lpl_lib.book.theory.weights import gap_weight
from lpl_lib.lpl import Algorithm1
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.variation import class_relative_variation


def softmax_regression(x: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    """Logits ``(n, C)`` at the minimum of the loss of ``x w + b + table[labels]``."""
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    w = torch.zeros(x.shape[1], len(table), dtype=x.dtype, requires_grad=True)
    steps = torch.optim.LBFGS(
        [w], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        steps.zero_grad()
        loss = F.cross_entropy(x @ w + table[labels], labels)
        loss.backward()
        return loss

    steps.step(closure)  # type: ignore[no-untyped-call]
    return (x @ w).detach()


def four_classes(place: float = 1.2, number: int = 4000) -> tuple[Tensor, Tensor]:
    """Class 3 has 3% of the points, and lies at ``(place, place)``."""
    draw = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.5, 0.3, 0.17, 0.03])
    labels = torch.multinomial(shares, number, True, generator=draw)
    means = torch.tensor([[0, 0], [2, 0], [0, 2], [place, place]], dtype=torch.float64)
    noise = torch.randn(number, 2, generator=draw, dtype=torch.float64)
    return means[labels] + noise, labels


def raised(gap: float, classes: int = 4) -> Tensor:
    """The table that lowers the own logit of the last class by ``gap``."""
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table[-1, -1] = -gap
    return table


# --- chapter 2 -------------------------------------------------------------------


def test_la_needs_unequal_priors_and_a_positive_strength() -> None:
    """Two classes that share the largest prior are both lowered."""
    draw = torch.Generator().manual_seed(0)
    u = 2 * torch.randn(300, 4, generator=draw, dtype=torch.float64)
    y = torch.arange(300) % 4

    def change(counts: list[int], tau: float) -> Tensor:
        la = LogitAdjustment(counts, tau=abs(tau))
        return loss_variation(u, y, math.copysign(1, tau) * la(u, y))

    tied = change([9, 9, 3, 1], 1.0)
    assert (tied[y < 2] < 0).all()
    assert (tied[y == 3] > 0).all()
    assert change([5, 5, 5, 5], 1.0).abs().max() < 1e-7  # neither lowered nor raised
    turned = change([9, 9, 3, 1], -1.0)
    assert (turned[y < 2] > 0).all()


def test_isda_is_the_shift_in_value_but_not_in_gradient() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(3, 4)
    isda, features, y = ISDA(head, strength=2.0), torch.randn(40, 3), torch.arange(40) % 4
    u = head(features)
    delta = isda(u, y)
    loss = [F.cross_entropy(u + d, y) for d in (delta, delta.detach())]
    slope = [torch.autograd.grad(one, head.weight, retain_graph=True)[0] for one in loss]
    assert loss[0] == loss[1]
    assert (slope[0] - slope[1]).norm() > 0.1 * slope[1].norm()


# --- chapter 12 -------------------------------------------------------------------


def test_the_half_rule_needs_the_wide_class_to_be_the_rare_one() -> None:
    """Narrow and rare: given up at once, while 9% miss their margin."""
    model, bound = TwoGaussians(0.2, 0.2, 2.0), 0.02
    b = float(optimal_bias(model))
    assert math.isfinite(b)
    assert ndtr((bound - 0.2 - b) / 0.2) < 0.12
    assert float(optimal_bias(model, bound)) == -math.inf


@pytest.mark.parametrize("seed", range(30))
def test_wide_and_rare_errs_more_at_every_slope(seed: int) -> None:
    """At random slopes, not the trained one alone; equal if ``K V = 1``."""
    draw = np.random.default_rng(seed)
    a, m = draw.uniform(0.05, 20), draw.uniform(0.05, 4)
    k, v = (1 + draw.exponential(1.5), 1.0) if seed % 2 else (1.0, 1 + draw.exponential(5))
    z = np.linspace(-9, 9, 2001)
    mass = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def margins(k: float, v: float) -> tuple[float, float]:
        low, high = -a * m - 60.0, a * m + 60.0
        for _ in range(200):  # the pull of the bias, by bisection
            beta = (low + high) / 2
            wide = mass @ np.exp(-np.logaddexp(0, a * m + beta + a * k * z))
            other = mass @ np.exp(-np.logaddexp(0, a * m - beta + a * z))
            low, high = (beta, high) if wide > v * other else (low, beta)
        return (a * m + beta) / k, a * m - beta  # in units of the slope

    plus, minus = margins(k, v)
    assert plus < minus
    even = margins(1.0, 1.0)
    assert even[0] == pytest.approx(even[1], abs=1e-9)


def test_an_adversary_in_feature_space_is_no_fixed_gap_in_training() -> None:
    """Its gap grows with the slope: at its own optimum it is another model than the fixed
    gap that is equal there."""
    model, radius = TwoGaussians(1.0, 1.0, 1.0), 0.5
    nearer = logistic_fit(TwoGaussians(1.0 - radius, 1.0, 1.0))  # both classes pushed
    gap = nearer.slope * radius
    fixed = logistic_fit(model, gap, gap)
    assert nearer.slope == pytest.approx(1.0, abs=1e-6)
    assert fixed.slope > 1.5 * nearer.slope


def test_a_pushed_class_takes_at_most_its_share_from_classes_left_alone() -> None:
    """The ceiling for C classes: mass on the others, however large the gap."""
    x, labels = four_classes()
    share, others = (labels == 3).double().mean(), labels != 3
    taken = []
    for gap in (0.0, 2.0, 10.0, 30.0):
        p = softmax_regression(x, labels, raised(gap)).softmax(1)
        taken.append(float(p[others, 3].sum() / len(labels)))
    assert (np.diff(taken) > 0).all()
    assert taken[-1] <= share + 1e-6
    assert taken[-1] > 0.99 * share  # the ceiling is reached, so it is no smaller


# --- chapter 3 -------------------------------------------------------------------


def test_the_confidence_split_ignores_a_lag_below_a_millionth() -> None:
    seen = torch.ones(3, dtype=torch.bool)
    for lag, sign in ((0.0, -1), (5e-7, -1), (5e-6, 1)):
        q = torch.tensor([0.5 - lag, 0.5, 0.5], dtype=torch.float64)
        assert ConfidenceSplit(0.5)(ClassStatistics(q, seen=seen))[0] == sign


# --- chapter 4 -------------------------------------------------------------------


def even_class(p: float, classes: int = 10) -> Tensor:
    u = torch.zeros(1, classes, dtype=torch.float64)
    u[0, 0] = math.log((classes - 1) * p / (1 - p))
    return u


def reached(p: float, radius: float) -> float:
    """Algorithm 1's share of the Euclidean optimum, for even rivals."""
    u, y = even_class(p), torch.tensor([0])
    parts = [
        class_relative_variation(u, y, solver(u, y, u.new_tensor([radius]), abs(radius)))
        for solver in (Algorithm1(), L2(steps=60))
    ]
    return float(parts[0][0] / parts[1][0])


def test_how_far_algorithm_1_gets_depends_on_its_bound() -> None:
    assert max(reached(0.5, r) for r in (1, -1)) < 0.6
    assert max(reached(0.5, r) for r in (5, -5)) > 0.8
    assert reached(0.99, -1) < 0.02
    assert reached(0.99, -50) > 0.3


def test_algorithm_1_can_exceed_the_best_of_the_euclidean_ball() -> None:
    """On a hard class it leaves the ball."""
    assert reached(0.1, 2.0) > 1


@pytest.mark.parametrize("seed", range(20))
def test_below_a_bound_each_power_step_contracts(seed: int) -> None:
    """``eps < sqrt(C / (C - 1)) / 2``: so there is one fixed point, up or down."""
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 12))
    u = draw.normal(size=(5, classes)) * draw.choice([0.5, 3, 10])
    epsilon = 0.999 * math.sqrt(classes / (classes - 1)) / 2

    def step(delta: np.ndarray) -> np.ndarray:
        g = class_gradient(u, 0, delta)
        return epsilon * g / np.linalg.norm(g)

    for _ in range(20):
        a, b = draw.normal(size=(2, classes))
        a, b = (epsilon * draw.uniform() * v / np.linalg.norm(v) for v in (a, b))
        assert np.linalg.norm(step(a) - step(b)) < np.linalg.norm(a - b)


# --- chapter 14 ------------------------------------------------------------------


def test_raising_a_class_rescues_samples_that_were_wrong() -> None:
    """It pushes on learnt samples, and with them moves the border that all share."""
    x, labels = four_classes(place=2.5)
    rare = labels == 3
    missed = []
    for gap in (0.0, 4.0):
        u = softmax_regression(x, labels, raised(gap))
        missed.append(u.argmax(1)[rare] != 3)
    assert missed[1].double().mean() < missed[0].double().mean() - 0.1
    assert not (missed[1] & ~missed[0]).any()


def test_a_wrong_sample_keeps_the_weight_one_only_in_the_limit() -> None:
    """At p = 0.3 the extra gradient is two thirds of the largest there is."""
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    extra = (gap_weight(p, 1.0) - 1) * (1 - p)
    assert extra[299] > 0.6 * extra.max()  # at p = 0.3
    assert float(gap_weight(p[:1], 1.0)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_weights_stay_within_the_exponential_of_the_gap(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    p = torch.rand(1000, generator=draw, dtype=torch.float64)
    gap = 6 * torch.rand(1000, generator=draw, dtype=torch.float64) - 3
    weight = gap_weight(p, gap)
    assert (weight <= gap.abs().exp()).all()
    assert (weight >= (-gap.abs()).exp()).all()


def test_raising_has_no_limit_for_three_classes_and_a_general_table() -> None:
    """Two classes lift each other by ``log M``: odds ``(2 + M t) / (2 + t)`` on the border
    between one of them and a class that nothing was done to."""
    large = 3000.0
    table = torch.zeros(3, 3, dtype=torch.float64)
    table[0, 2] = table[2, 0] = math.log(large)
    for t in (0.01, 0.5, 1.0):
        logits = torch.tensor([1, 1, t], dtype=torch.float64).log()
        eta = table_posterior(table, logits)
        assert float(eta[0] / eta[1]) == pytest.approx((2 + large * t) / (2 + t), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_raising_by_symmetric_tables_corrects_at_most_two_to_one(classes: int) -> None:
    draw = torch.Generator().manual_seed(classes)
    for _ in range(200):
        gaps = 20 * torch.rand(classes, generator=draw, dtype=torch.float64)
        u = 3 * torch.randn(classes, generator=draw, dtype=torch.float64)
        u[:2] = u.max()  # a tie for the first place
        table = gaps[:, None] / 2 * (1 - 2 * torch.eye(classes).double())
        eta = table_posterior(table, u)
        assert 0.5 <= float(eta[0] / eta[1]) <= 2
