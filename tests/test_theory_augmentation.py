"""Noise on features against perturbations of logits, by Gauss-Hermite quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from augmentation_theory import (
    adversarial_delta,
    equivalent_gap,
    isda_delta,
    jensen_gap,
    matched_shift,
    noise_rise,
)
from torch import Tensor

from lpl_lib import ISDA

NODES, WEIGHTS = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(60))


class Case:
    """A random linear head, one sample and a covariance in two dimensions."""

    def __init__(self, seed: int, num_classes: int = 4, size: float | None = None) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.weight, self.bias = normal(num_classes, 2), normal(num_classes)
        self.h = 1.5 * normal(1, 2)
        self.y = torch.randint(num_classes, (1,), generator=draw)
        self.factor = normal(2, 2)
        if size is not None:
            self.factor *= size / self.factor.norm()
        self.covariance = self.factor @ self.factor.T
        self.logits = self.h @ self.weight.T + self.bias

    def loss(self, delta: Tensor | float = 0.0) -> float:
        return float(F.cross_entropy(self.logits + delta, self.y))

    def noisy_losses(self) -> tuple[Tensor, Tensor]:
        """Losses and probabilities on a grid of 60 x 60 points."""
        z = torch.cartesian_prod(NODES, NODES)
        u = (self.h + z @ self.factor.T) @ self.weight.T + self.bias
        weight = torch.cartesian_prod(WEIGHTS, WEIGHTS).prod(1)
        return F.cross_entropy(u, self.y.expand(len(u)), reduction="none"), (
            weight / weight.sum()
        )


@pytest.mark.parametrize("seed", range(25))
def test_isda_is_the_entropic_risk_and_bounds_the_mean(seed: int) -> None:
    """The identity to 1e-9, the order of the three losses without exception."""
    case = Case(seed, size=1.5)
    losses, weight = case.noisy_losses()
    by_isda = case.loss(isda_delta(case.weight, case.y, case.covariance))
    assert abs(by_isda - float((weight @ losses.exp()).log())) < 1e-9
    assert case.loss() - 1e-9 <= float(weight @ losses) <= by_isda + 1e-9


@pytest.mark.parametrize("seed", range(25))
def test_more_noise_is_a_larger_mean_loss(seed: int) -> None:
    """Covariances whose difference has no negative eigenvalue, to 1e-9."""
    case = Case(seed, size=1.5)
    losses, weight = case.noisy_losses()
    extra = torch.randn(2, generator=torch.Generator().manual_seed(seed)).double()
    case.factor = torch.linalg.cholesky(case.covariance + torch.outer(extra, extra))
    wider, _ = case.noisy_losses()
    assert weight @ wider >= weight @ losses - 1e-9


def slope(errors: list[float]) -> float:
    return float(np.polyfit(np.log([1, 2, 4]), np.log(errors), 1)[0])


@pytest.mark.parametrize("seed", range(4))
def test_remainders_are_of_second_order_in_the_covariance(seed: int) -> None:
    rises, gaps = [], []
    for scale in (1, 2, 4):
        case = Case(seed, size=0.04 * scale**0.5)
        losses, weight = case.noisy_losses()
        mean = float(weight @ losses)
        by_isda = case.loss(isda_delta(case.weight, case.y, case.covariance))
        leading = float(noise_rise(case.logits, case.weight, case.covariance))
        rises.append(abs(mean - case.loss() - leading))
        surplus = float(jensen_gap(case.logits, case.y, case.weight, case.covariance))
        gaps.append(abs(by_isda - mean - surplus))
    assert abs(slope(rises) - 2) < 0.1
    assert abs(slope(gaps) - 2) < 0.1


def test_isda_delta_is_that_of_the_module() -> None:
    case, head = Case(3), torch.nn.Linear(2, 4, dtype=torch.float64)
    head.load_state_dict({"weight": case.weight, "bias": case.bias})
    isda = ISDA(head, strength=1.0).eval()
    isda.spread[:] = case.covariance
    found = isda(head(case.h), case.y).detach()
    expected = isda_delta(case.weight, case.y, isda.spread[0].double())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("seed", range(20))
def test_one_shift_matches_the_mean_and_only_one(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    u = 4 * torch.randn(30, 5, generator=draw, dtype=torch.float64)
    y = torch.randint(5, (30,), generator=draw)
    target = float(10 ** (3 * torch.rand((), generator=draw) - 2))

    def mean(shift: float) -> float:
        return float(F.cross_entropy(u - shift * F.one_hot(y, 5).double(), y))

    t = matched_shift(u, y, target)
    assert abs(mean(t) - target) < 1e-9
    assert mean(t - 1e-3) < target < mean(t + 1e-3)


def test_extreme_targets_are_matched() -> None:
    u, y = torch.tensor([[0.0, 5.0], [9.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0])
    for target in (1e-8, 400.0):
        t = matched_shift(u, y, target)
        shifted = u - t * F.one_hot(y, 2).double()
        assert abs(float(F.cross_entropy(shifted, y)) / target - 1) < 1e-6
    with pytest.raises(ValueError, match="target_loss"):
        matched_shift(u, y, 0.0)


def test_equivalent_gap_rises_from_nothing_to_half_the_variance() -> None:
    m = np.linspace(-10, 14, 49)
    for s in (0.3, 1.0, 1.5):
        gaps = np.array([equivalent_gap(value, s) for value in m])
        assert (np.diff(gaps) > -1e-9).all()
        assert abs(gaps[0]) < 1e-3
        assert abs(gaps[-1] - s**2 / 2) < 1e-3
    for value in (-2.0, 0.0, 1.0):  # s^2 p / 2 for small noise
        p = 1 / (1 + np.exp(-value))
        assert abs(equivalent_gap(value, 0.02) / (0.5 * 0.02**2 * p) - 1) < 1e-3


def test_noise_and_a_shift_rank_wrong_samples_in_opposite_order() -> None:
    m = np.linspace(-6, 6, 121)
    before = np.logaddexp(0, -m)
    by_noise = np.array(
        [np.logaddexp(0, equivalent_gap(value, 1.0) - value) for value in m]
    )
    by_noise -= before
    by_shift = np.logaddexp(0, 0.3 - m) - before
    assert np.abs(by_noise - by_noise[::-1]).max() < 1e-9  # even
    right = m > 0.01
    assert (np.diff(by_noise[right]) < 0).all()
    assert (np.diff(by_noise[m < -0.01]) > 0).all()
    assert (np.diff(by_shift) < 0).all()


@pytest.mark.parametrize("seed", range(10))
def test_two_classes_make_adversary_and_helper_a_shift_of_logits(seed: int) -> None:
    """Against the best of 20,000 points on the circle; tolerance 1e-6."""
    case, radius = Case(seed, num_classes=2), 0.2 + 0.08 * seed
    angle = torch.linspace(0, 2 * torch.pi, 20_000, dtype=torch.float64)
    ring = case.h + radius * torch.stack([angle.cos(), angle.sin()], 1)
    losses = F.cross_entropy(
        ring @ case.weight.T + case.bias, case.y.expand(len(ring)), reduction="none"
    )
    worst = case.loss(adversarial_delta(case.weight, case.y, radius))
    best = case.loss(adversarial_delta(case.weight, case.y, -radius))
    assert abs(float(losses.max()) - worst) < 1e-6
    assert abs(float(losses.min()) - best) < 1e-6


def test_for_more_classes_it_is_a_bound() -> None:
    angle = torch.linspace(0, 2 * torch.pi, 2000, dtype=torch.float64)
    slack = []
    for seed in range(30):
        case = Case(seed)
        ring = case.h + 0.7 * torch.stack([angle.cos(), angle.sin()], 1)
        losses = F.cross_entropy(
            ring @ case.weight.T + case.bias, case.y.expand(len(ring)), reduction="none"
        )
        bound = case.loss(adversarial_delta(case.weight, case.y, 0.7))
        slack.append(bound - float(losses.max()))
    assert min(slack) > -1e-9
    assert max(slack) > 0.1
