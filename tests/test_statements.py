"""Statements of the chapters that no test of a module covers, on small examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import random_batch
from reference import class_gradient
from scipy.optimize import minimize

from lpl_lib import LogitAdjustment
from lpl_lib.book.theory.label_variation import equivalent_shift
from lpl_lib.multilabel import AsymmetricLoss
from lpl_lib.multilabel.lpl import closed_form


@pytest.mark.parametrize("wanted", [1e-3, 0.7, 5.0])
def test_any_loss_value_is_a_shift_of_the_own_logit(wanted):
    u, y = random_batch([0, 1, 2, 3], 4, seed=2)[:2]
    u = u.double()
    before = F.cross_entropy(u, y, reduction="none")
    shift = (torch.expm1(before) / np.expm1(wanted)).log()
    after = F.cross_entropy(u + shift[:, None] * F.one_hot(y, 4), y, reduction="none")
    torch.testing.assert_close(after, torch.full_like(after, wanted))


@pytest.mark.parametrize("seed", range(20))
def test_averaging_within_a_class_lowers_its_loss(seed):
    """Doubly stochastic weights: a mix of permutations; and shrinking, from rho = -1."""
    draw = np.random.default_rng(seed)
    features, head = draw.normal(size=(6, 3)), draw.normal(size=(4, 3)) * 2

    def loss(h: np.ndarray) -> float:
        return float(-torch.tensor(h @ head.T).log_softmax(1)[:, 0].mean())

    mix = sum(
        share * np.eye(6)[draw.permutation(6)] for share in draw.dirichlet(np.ones(4))
    )
    mean = features.mean(0, keepdims=True)
    assert loss(mean) <= loss(mix @ features) + 1e-12
    assert loss(mix @ features) <= loss(features) + 1e-12
    shrunk = [loss(features + rho * (mean - features)) for rho in np.linspace(-1, 1, 21)]
    assert (np.diff(shrunk) <= 1e-12).all()
    assert shrunk[-1] == pytest.approx(loss(mean))


@pytest.mark.parametrize("epsilon", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("seed", range(10))
def test_no_power_step_goes_down(seed, epsilon):
    """From starts anywhere in the ball, one step ``eps g / |g|`` to maximise."""
    draw = np.random.default_rng(seed)
    u = draw.normal(size=(5, 6)) * 3

    def loss(delta: np.ndarray) -> float:
        return float(-torch.tensor(u + delta).log_softmax(1)[:, 0].mean())

    for _ in range(10):
        start = draw.normal(size=6)
        start *= epsilon * draw.uniform() / np.linalg.norm(start)
        g = class_gradient(u, 0, start)
        assert loss(epsilon * g / np.linalg.norm(g)) >= loss(start) - 1e-12


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_smoothing_caps_the_perturbed_margin(smoothing):
    """Where a minimiser ends, each lead is the cap less the gap; tolerance 1e-5."""
    classes, y = 5, 2
    delta = np.random.default_rng(0).normal(size=classes)
    target = (1 - smoothing) * np.eye(classes)[y] + smoothing / classes

    def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.tensor(u + delta)
        value = -(torch.tensor(target) * logits.log_softmax(0)).sum()
        return float(value), logits.softmax(0).numpy() - target

    u = minimize(loss, np.zeros(classes), jac=True, options={"gtol": 1e-9}).x
    cap = np.log1p(classes * (1 - smoothing) / smoothing)
    rivals = np.arange(classes) != y
    expected = cap - (delta[y] - delta[rivals])
    np.testing.assert_allclose(u[y] - u[rivals], expected, atol=1e-5)


def test_both_sides_of_a_label_pull_alike():
    """Logistic regression with a free bias, the weights decayed, at its optimum."""
    draw = np.random.default_rng(1)
    t = np.repeat([1.0, 0.0], [20, 180])
    x = np.c_[draw.normal(size=(200, 2)) + t[:, None], np.ones(200)]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        u = x @ w
        decay = w * [0.1, 0.1, 0]
        value = (np.logaddexp(0, u) - t * u).mean() + 0.5 * w @ decay
        return value, x.T @ (1 / (1 + np.exp(-u)) - t) / 200 + decay

    p = 1 / (1 + np.exp(-x @ minimize(loss, np.zeros(3), jac=True, tol=1e-10).x))
    missing = 1 - p[t == 1].mean(), p[t == 0].mean()
    assert missing[0] / missing[1] == pytest.approx((1 - 0.1) / 0.1, rel=1e-5)


def test_the_margin_of_asl_is_a_negative_shift():
    """With powers 0: ``logit(p - m) - u`` above the margin, minus infinity below."""
    margin = 0.05
    curve = AsymmetricLoss(gamma_negative=0, gamma_positive=0, margin=margin)
    p = torch.tensor([0.01, 0.04, 0.06, 0.3, 0.9], dtype=torch.float64)
    found = equivalent_shift(curve, p.logit()).negatives
    assert torch.isneginf(found[:2]).all()
    torch.testing.assert_close(found[2:], (p[2:] - margin).logit() - p[2:].logit())
    assert (found[2:] < 0).all()


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_equal_shifts_of_both_sides_are_absorbed_step_by_step(optimiser):
    """The same net at each step, but for biases that differ by the shift."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=draw, dtype=torch.float64)
    t = (torch.rand(30, 3, generator=draw) < 0.3).double()
    shift = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    sides = closed_form(t, torch.tensor([-0.3, 0.2, 0.4, 0.5, -0.1, 0.2]).double())

    def train(extra: torch.Tensor, start: torch.Tensor) -> list[torch.Tensor]:
        w = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        b = start.clone().requires_grad_()
        more = {"momentum": 0.9} if optimiser is torch.optim.SGD else {}
        steps = optimiser([w, b], lr=0.1, **more)
        for _ in range(20):
            steps.zero_grad()
            F.binary_cross_entropy_with_logits(x @ w + b + sides + extra, t).backward()
            steps.step()
        return [w.detach(), b.detach()]

    plain = train(torch.zeros(3).double(), shift)
    moved = train(shift, torch.zeros(3).double())
    torch.testing.assert_close(moved[0], plain[0])
    torch.testing.assert_close(moved[1] + shift, plain[1])
    other = train(shift, shift)  # from other biases the path is another
    assert (other[0] - plain[0]).abs().max() > 1e-3


def minimiser(x, y, delta):
    """Softmax regression with a free bias, perturbed; rows are inputs, last is the bias.
    Centred over classes."""
    w = torch.zeros(x.shape[1], int(y.max()) + 1, dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [w],
        max_iter=3000,
        max_eval=4000,
        tolerance_grad=1e-12,
        tolerance_change=0,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ w + delta[y], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    w = w.detach()
    return w - w.mean(1, keepdim=True)


def test_logit_adjustment_moves_the_bias_and_nothing_else():
    """Softmax regression, four classes; weights agree to 1e-6, those of LPL do not."""
    rng = np.random.default_rng(3)
    y = torch.tensor(rng.choice(4, size=400, p=[0.6, 0.25, 0.1, 0.05]))
    x = torch.tensor(rng.normal(size=(400, 3))) + 1.5 * torch.eye(4)[y][:, :3]
    x = torch.cat([x, torch.ones(400, 1)], 1).double()
    counts = torch.bincount(y)
    adjust = LogitAdjustment(counts.tolist())
    everything = adjust(torch.zeros(4, 4, dtype=torch.float64), torch.arange(4))
    plain = minimiser(x, y, torch.zeros(4, 4, dtype=torch.float64))
    moved = minimiser(x, y, everything)
    difference = moved - plain
    assert difference[:3].abs().max() < 1e-6
    assert (difference[3] + everything[0] - everything[0].mean()).abs().max() < 1e-6
    t = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    lpl = t[:, None] / 2 * (1 - 2 * torch.eye(4, dtype=torch.float64))
    assert (minimiser(x, y, lpl) - plain)[:3].abs().max() > 0.01
