"""Gradient weights, convexity and the envelope of the inner problem, and detaching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import batches, random_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lpl_lib import L2, LInf
from lpl_lib.book.theory.weights import (
    effective_gap,
    flow_gradients,
    focal_weight,
    gap_weight,
)
from lpl_lib.lpl import Algorithm1

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


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_weight_is_the_ratio_of_the_gradients(gamma):
    u, y = random_batch([0, 1, 2, 0, 1, 2], 3)[:2]
    leaf = u.clone().requires_grad_()
    p = leaf.softmax(1).gather(1, y[:, None])[:, 0]
    (focal,) = torch.autograd.grad(((1 - p) ** gamma * -p.log()).sum(), leaf)
    plain = u.softmax(1) - F.one_hot(y, 3)
    weight = focal_weight(own_probability(u, y), gamma)[:, None]
    torch.testing.assert_close(focal, weight * plain, rtol=1e-10, atol=1e-12)


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


@SIGNS
def test_detached_flow_gradient_is_that_of_the_library(sign):
    u, y = random_batch([2] * 5, 4)[:2]
    delta = Algorithm1(step_size=0.1)(u, y, u.new_full((5,), sign * 0.6), 0.6)
    detached = flow_gradients(u, 2, time=sign * 0.6).detached
    torch.testing.assert_close(detached, logit_gradient(u, y, delta) / 5)


@SIGNS
def test_what_detaching_algorithm_1_leaves_out_to_first_order(sign):
    """``+- t/n (diag(p_i) - p_i p_i^T) g``, up to order two in the time."""
    u = random_batch([1] * 6, 5).logits
    p = u.softmax(1)
    g = p.mean(0) - F.one_hot(torch.tensor(1), 5)
    first = sign * (p * g - p * (p @ g)[:, None]) / len(u)

    def error(time: float) -> float:
        pair = flow_gradients(u, 1, time=sign * time, step_size=time / 10)
        return float((pair.through - pair.detached - time * first).norm())

    assert float(first.norm()) > 1e-3
    assert np.log2(error(0.02) / error(0.01)) == pytest.approx(2, abs=0.1)


def test_differentiating_the_steps_matters_for_algorithm_1():
    """Raised classes get a longer gradient, lowered ones a shorter, by over 10%."""
    u = random_batch([0] * 8, 10, seed=1).logits
    for time, sign in ((2.0, 1), (-2.0, -1)):
        pair = flow_gradients(u, 0, time=time)
        ratio = float(pair.through.norm() / pair.detached.norm())
        assert sign * (ratio - 1) > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gap_weight(torch.tensor([1.5]), 1.0), "probability must lie in"),
        (lambda: gap_weight(torch.tensor([1]), 1.0), "probability must be a floating"),
        (lambda: focal_weight(torch.tensor([0.5]), 0.5), "gamma must be"),
        (lambda: flow_gradients(torch.zeros(1, 2), 2, 1.0), "label must lie"),
        (lambda: flow_gradients(torch.zeros(1, 2), 0, 1.0, step_size=0), "step_size"),
        (lambda: flow_gradients(torch.zeros(2), 0, 1.0), "logits must have shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
