"""Gradient weights, convexity and the envelope of the inner problem, and detaching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import batches
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lpl_lib import L2, LInf
from lpl_lib.book.theory.weights import effective_gap, gap_weight

SIGNS = pytest.mark.parametrize("sign", [1, -1])


def logit_gradient(u: Tensor, y: Tensor, delta: Tensor) -> Tensor:
    """Gradient of the summed cross-entropy of ``u + delta`` with respect to ``u``."""
    u = u.detach().requires_grad_()
    loss = F.cross_entropy(u + delta, y, reduction="sum")
    return torch.autograd.grad(loss, u)[0]


def own_probability(u: Tensor, y: Tensor) -> Tensor:
    return u.softmax(1).gather(1, y[:, None])[:, 0]


@SIGNS
@given(batch=batches(smallest=2), epsilon=st.sampled_from([0.1, 1.0, 3.0]))
def test_lpl_in_the_maximum_norm_only_weighs_the_gradient(sign, batch, epsilon):
    u, y = batch[:2]
    delta = LInf()(u, y, torch.full((len(u),), sign * epsilon), epsilon)
    weight = gap_weight(own_probability(u, y), 2 * sign * epsilon)
    plain = u.softmax(1) - F.one_hot(y, u.shape[1])
    torch.testing.assert_close(
        logit_gradient(u, y, delta), weight[:, None] * plain, rtol=1e-7, atol=1e-9
    )


@given(batch=batches(smallest=2), seed=st.integers(0, 999))
def test_any_perturbation_weighs_what_is_sent_to_the_rivals(batch, seed):
    """Rivals get ``omega (1 - p_y)`` in all, shared in proportion to ``r_c e^delta_c``."""
    u, y = batch[:2]
    draw = torch.Generator().manual_seed(seed)
    delta = torch.randn(u.shape, generator=draw, dtype=torch.float64)
    p, own = own_probability(u, y), F.one_hot(y, u.shape[1]).bool()
    weight = gap_weight(p, effective_gap(u, y, delta))
    shares = (u + delta).masked_fill(own, -torch.inf).softmax(1)
    expected = (weight * (1 - p))[:, None] * (shares - own.double())
    torch.testing.assert_close(logit_gradient(u, y, delta), expected, rtol=1e-7, atol=1e-10)


@SIGNS
def test_the_weight_goes_from_one_to_the_exponential_of_the_gap(sign):
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    weight = gap_weight(p, 1.4 * sign)
    assert weight[0] == 1
    assert weight[-1].item() == pytest.approx(np.exp(1.4 * sign), rel=1e-12)
    assert (sign * weight.diff() > 0).all()


def best(u: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Value and perturbation of the inner problem of class 0, to many digits."""
    y = torch.zeros(len(u), dtype=torch.int64)
    solver = L2(steps=60, damping=0.5 if radius < 0 else 0.0)
    delta = solver(u, y, u.new_full((len(u),), radius), abs(radius))
    return F.cross_entropy(u + delta, y), delta


@SIGNS
@pytest.mark.parametrize("epsilon", [0.3, 0.5])
def test_the_value_of_the_inner_problem_is_convex_in_the_logits(sign, epsilon):
    """Bounds for which both problems have one solution: ``eps < sqrt(C / (C-1)) / 2``."""
    draw = torch.Generator().manual_seed(3)
    for _ in range(6):
        one, other = 2 * torch.randn(2, 4, 5, generator=draw, dtype=torch.float64)
        mixed = best(0.3 * one + 0.7 * other, sign * epsilon)[0]
        ends = [best(u, sign * epsilon)[0] for u in (one, other)]
        assert mixed <= 0.3 * ends[0] + 0.7 * ends[1] + 1e-12


@SIGNS
def test_the_gradient_of_the_value_is_that_of_a_constant_perturbation(sign):
    """The envelope theorem, by central differences of step 1e-5; so, error 1e-8."""
    draw = torch.Generator().manual_seed(4)
    for _ in range(5):
        u, way = torch.randn(2, 4, 5, generator=draw, dtype=torch.float64)
        delta = best(u, sign * 0.5)[1]
        y = torch.zeros(4, dtype=torch.int64)
        detached = logit_gradient(u, y, delta) / 4
        ends = [best(u + h * way, sign * 0.5)[0] for h in (1e-5, -1e-5)]
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope.item() == pytest.approx((detached * way).sum().item(), abs=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gap_weight(torch.tensor([1.5]), 1.0), "probability must lie in"),
        (lambda: gap_weight(torch.tensor([1]), 1.0), "probability must be a floating"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
