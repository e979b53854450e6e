"""Bounds of the loss variation that need no logits."""

from __future__ import annotations

import torch
from cases import batches
from hypothesis import given
from hypothesis import strategies as st
from variation_bounds import (
    first_order,
    hessian_bound,
    second_order_bound,
    variation_interval,
)

from lpl_lib.variation import loss_variation

scales = st.sampled_from([0.1, 1.0, 5.0])


@given(batch=batches(), seed=st.integers(0, 999), scale=scales)
def test_variation_lies_between_its_bounds(batch, seed, scale):
    u, y = batch[0].double(), batch[1]
    draw = torch.Generator().manual_seed(seed)
    delta = scale * torch.randn(u.shape, generator=draw, dtype=torch.float64)
    change = loss_variation(u, y, delta)
    low, high = variation_interval(delta, y)
    assert (low - 1e-9 <= change).all()
    assert (change <= high + 1e-9).all()
    spread = delta.amax(1) - delta.amin(1)
    assert (torch.maximum(-low, high) <= spread).all()
    residual = change - first_order(u, y, delta)
    assert (residual >= -1e-9).all()
    bound = second_order_bound(delta)
    assert (residual <= bound + 1e-9).all()
    centred = delta - delta.mean(1, keepdim=True)
    assert (bound <= centred.square().sum(1) / 4 + 1e-12).all()


def test_bounds_are_approached():
    delta = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([0])
    hard = torch.tensor([[-30.0, 30.0]], dtype=torch.float64)
    for sign in (1, -1):
        interval = variation_interval(sign * delta, y)
        end = interval.high if sign > 0 else interval.low
        change = loss_variation(hard, y, sign * delta)
        assert abs(float(change - end)) < 1e-12
    small = 0.01 * delta  # at p = 1/2 the residual is R^2 / 8 up to the fourth order
    even = torch.zeros(1, 2, dtype=torch.float64)
    residual = loss_variation(even, y, small) - first_order(even, y, small)
    assert abs(float(residual / second_order_bound(small)) - 1) < 1e-3


@given(batch=batches(smallest=2))
def test_hessian_has_no_eigenvalue_beyond_its_bound(batch):
    u, y = batch[0].double(), batch[1]
    p = u.softmax(1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    largest = torch.linalg.eigvalsh(hessian)[:, -1]
    own = p.gather(1, y[:, None])[:, 0]
    assert (largest <= hessian_bound(own) + 1e-12).all()
