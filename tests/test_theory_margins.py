"""Margins, and how gaps fade where the data are separable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from lpl_lib.book.theory.margins import perturbed_logistic
from lpl_lib.book.theory.weights import effective_gap
from lpl_lib.variation import loss_variation, rival_score, softplus


def separable(seed: int, size: int = 40) -> tuple[Tensor, Tensor]:
    """Two clouds of unequal size on either side of a plane, and a constant feature."""
    rng = np.random.default_rng(seed)
    few = size // 5
    x = np.r_[
        rng.normal(size=(size - few, 2)) * [0.8, 0.5] + [2.4, 1.2],
        rng.normal(size=(few, 2)) * 0.3 + [-1.2, -1.4],
    ]
    t = np.r_[np.ones(size - few), -np.ones(few)]
    return torch.tensor(np.c_[x, np.ones(size)]), torch.tensor(t)


def best_margin(x: Tensor, t: Tensor) -> tuple[float, np.ndarray]:
    """The largest margin of a parameter of norm 1, and that parameter, by SLSQP."""
    rows = (t[:, None] * x).numpy()
    found = minimize(
        lambda v: v @ v / 2,
        np.array([1.0, 1.0, 0.0]),
        jac=lambda v: v,
        constraints={"type": "ineq", "fun": lambda v: rows @ v - 1, "jac": lambda v: rows},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    length = np.linalg.norm(found.x)
    return 1 / length, found.x / length


@pytest.mark.parametrize("decay", [1.0, 1e-3, 1e-9])
def test_perturbed_logistic_is_stationary(decay):
    x, t = separable(0)
    gaps = torch.where(t > 0, -1.0, 2.0).double()
    theta = perturbed_logistic(x, t, gaps, decay=decay)
    push = torch.sigmoid(gaps - t * (x @ theta))
    residual = decay * theta - (push * t) @ x
    assert float(residual.norm()) < 1e-9 * max(1.0, decay * float(theta.norm()))


@pytest.mark.parametrize("seed", range(5))
def test_bounded_gaps_cannot_keep_the_margin_from_the_best(seed):
    """The bound of the theorem, for margin and direction, with other gaps for
    each sample."""
    x, t = separable(seed)
    best, direction = best_margin(x, t)
    gaps = 6 * torch.rand(len(x), generator=torch.Generator().manual_seed(seed)) - 3
    tried = 0
    for decay in 10.0 ** -np.arange(0, 13, 2):
        theta = perturbed_logistic(x, t, gaps.double(), decay=float(decay))
        norm = float(theta.norm())
        short = (2 * 3.0 + np.log(2 * len(x))) / norm
        if short >= best:
            continue  # the norm is still too small for the bound to speak
        tried += 1
        assert float((t * (x @ theta)).min()) / norm >= best - short
        apart = np.linalg.norm(theta.numpy() / norm - direction)
        assert apart <= 2 * np.sqrt(short / best)
    assert tried >= 2


@given(seed=st.integers(0, 999), bound=st.sampled_from([0.5, 3.0]))
def test_a_bounded_gap_moves_the_loss_between_two_copies_of_it(seed, bound):
    draw = torch.Generator().manual_seed(seed)
    u = 4 * torch.randn(6, 5, generator=draw, dtype=torch.float64)
    delta = torch.randn(6, 5, generator=draw, dtype=torch.float64)
    y = torch.arange(6) % 5
    delta = bound * delta / delta.abs().max()
    largest = effective_gap(u, y, delta).abs().max()
    assert largest <= 2 * bound
    score = rival_score(u, y)
    after = softplus(score) + loss_variation(u, y, delta)
    assert (softplus(score - largest) - 1e-12 <= after).all()
    assert (after <= softplus(score + largest) + 1e-12).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perturbed_logistic(torch.ones(2, 1), torch.ones(2), decay=1), "float64"),
        (
            lambda: perturbed_logistic(
                torch.ones(2, 1, dtype=torch.float64), torch.zeros(2), decay=1
            ),
            "labels must be",
        ),
        (
            lambda: perturbed_logistic(
                torch.ones(2, 1, dtype=torch.float64), torch.ones(2), decay=0
            ),
            "decay must be",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
