"""Loss variation: exact, signed by the effective gap, accurate where the loss is tiny."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import ISDAS, batches, random_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from variation_bounds import first_order

from lpl_lib import LDAM, LogitAdjustment, loss_variation
from lpl_lib.book.theory.weights import effective_gap
from lpl_lib.variation import class_relative_variation, rival_score


def normal_like(logits: Tensor, seed: int, scale: float = 1.0) -> Tensor:
    """A random perturbation."""
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.randn(logits.shape, generator=draw, dtype=torch.float64)


def exact_variation(u: Tensor, y: Tensor, delta: Tensor) -> list[float]:
    """``log(1 + e^R') - log(1 + e^R)`` to 400 digits, where R is the rival score."""

    def loss(row: list[float], label: int) -> Decimal:
        own = Decimal(row[label])
        rivals = [Decimal(v) for c, v in enumerate(row) if c != label]
        return (1 + sum((v - own).exp() for v in rivals)).ln()

    with localcontext(prec=400):
        return [
            float(loss(after, label) - loss(before, label))
            for before, after, label in zip(
                u.tolist(), (u + delta).tolist(), y.tolist(), strict=True
            )
        ]


scales = st.sampled_from([0.01, 1.0, 5.0])
random_shift = given(batch=batches(), seed=st.integers(0, 999), scale=scales)
shift_of_rivals = given(batch=batches(smallest=2), seed=st.integers(0, 999), scale=scales)


@random_shift
def test_rival_score_is_minus_the_log_odds(batch, seed, scale):
    u, y = batch[:2]
    p = u.softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(rival_score(u, y).exp(), 1 / p - 1, rtol=1e-6, atol=1e-9)


@random_shift
def test_loss_variation_is_the_difference_of_the_losses(batch, seed, scale):
    u, y = batch[:2]
    delta = normal_like(u, seed, scale)
    before, after = (F.cross_entropy(v, y, reduction="none") for v in (u, u + delta))
    torch.testing.assert_close(
        loss_variation(u, y, delta), after - before, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("score", [-300.0, -40.0, -5.0, 0.0, 15.0, 19.9, 20.5, 60.0])
def test_loss_variation_is_exact_at_any_confidence(score):
    """From ``p_y`` near 1, where the loss is tiny, to ``p_y`` near 0, without a seam."""
    u = torch.tensor([[0.0, score, score - 1, score - 3]], dtype=torch.float64)
    y, delta = torch.tensor([0]), torch.tensor([[0.3, -0.2, 0.1, 0.5]], dtype=torch.float64)
    for shift in (delta, -3 * delta):
        expected = exact_variation(u, y, shift)
        assert loss_variation(u, y, shift).tolist() == pytest.approx(expected, rel=1e-12)


def test_float32_is_accurate_where_the_difference_of_losses_is_nought():
    u, y = torch.tensor([[30.0, 0.0, 1.0]]), torch.tensor([0])
    delta = torch.tensor([[-0.5, 0.25, 0.0]])
    assert F.cross_entropy(u + delta, y) == F.cross_entropy(u, y) == 0
    expected = exact_variation(u.double(), y, delta.double())
    assert loss_variation(u, y, delta).tolist() == pytest.approx(expected, rel=1e-5)


@shift_of_rivals
def test_the_sign_is_that_of_the_effective_gap(batch, seed, scale):
    u, y = batch[:2]
    delta = normal_like(u, seed, scale)
    gap, change = effective_gap(u, y, delta), loss_variation(u, y, delta)
    clear = gap.abs() > 1e-9
    assert (change.sign() == gap.sign())[clear].all()


@shift_of_rivals
def test_effective_gap_by_its_definition_and_the_loss_from_it(batch, seed, scale):
    u, y = batch[:2]
    delta, p = normal_like(u, seed, scale), u.softmax(1)
    own = F.one_hot(y, u.shape[1]).bool()
    rivals = p.masked_fill(own, 0) / p.masked_fill(own, 0).sum(1, keepdim=True)
    gap = (rivals * delta.exp()).sum(1).log() - delta[own]
    torch.testing.assert_close(effective_gap(u, y, delta), gap, rtol=1e-9, atol=1e-9)
    expected = torch.log1p(p.masked_fill(own, 0).sum(1) * torch.expm1(gap))
    change = loss_variation(u, y, delta)
    torch.testing.assert_close(change, expected, rtol=1e-8, atol=1e-12)


@random_shift
def test_the_size_of_a_perturbation_bounds_the_variation(batch, seed, scale):
    u, y = batch[:2]
    delta = normal_like(u, seed, scale)
    change, spread = loss_variation(u, y, delta), delta.amax(1) - delta.amin(1)
    own = delta.gather(1, y[:, None])[:, 0]
    second_order = change - first_order(u, y, delta)
    centred = delta - delta.mean(1, keepdim=True)
    assert (change.abs() <= spread + 1e-12).all()
    assert (change <= delta.amax(1) - own + 1e-12).all()
    assert (second_order >= -1e-12).all()
    assert (second_order <= spread.square() / 8 + 1e-12).all()
    assert (second_order <= centred.square().sum(1) / 4 + 1e-12).all()


@pytest.mark.parametrize("order", [1, 2])
def test_what_first_and_second_order_leave_is_of_the_next(order):
    u, y = random_batch([0, 1, 2, 3, 0, 1], 5)[:2]
    delta = normal_like(u, seed=1)

    def remainder(size: float) -> float:
        p, shift = u.softmax(1), size * delta
        variance = (p * shift.square()).sum(1) - (p * shift).sum(1).square()
        rest = loss_variation(u, y, shift) - first_order(u, y, shift)
        return (rest - (order - 1) * variance / 2).abs().max().item()

    exponent = np.log(remainder(0.04) / remainder(0.01)) / np.log(4)
    assert exponent == pytest.approx(order + 1, abs=0.15)


def test_ldam_raises_the_loss_by_less_than_its_margin():
    u, y = random_batch([0, 1, 2, 2, 1, 0], 3)[:2]
    ldam = LDAM([60, 20, 2], max_margin=0.8)
    m = ldam.margins[y].double()
    p = u.softmax(1).gather(1, y[:, None])[:, 0]
    change = loss_variation(u, y, ldam(u, y))
    torch.testing.assert_close(change, (p + (1 - p) * m.exp()).log(), rtol=1e-6, atol=0)
    assert (change > 0).all()
    assert (change < m).all()


@given(batch=batches(smallest=4), tau=st.sampled_from([0.5, 1.0, 2.0]))
def test_la_lowers_the_loss_where_rivals_are_rarer_on_average(batch, tau):
    """``E_r pi^tau < pi_y^tau``; so always for the most frequent class, never for the
    rarest, and in between by the rivals."""
    u, y = batch.logits[:, :4], batch.targets % 4
    prior = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
    change = loss_variation(u, y, LogitAdjustment([60, 25, 10, 5], tau)(u, y))
    own = F.one_hot(y, 4).bool()
    rivals = u.masked_fill(own, -torch.inf).softmax(1)
    criterion = (rivals * prior**tau).sum(1) - prior[y] ** tau
    clear = criterion.abs() > 1e-6
    assert (change.sign() == criterion.sign())[clear].all()
    assert (change[y == 0] < 0).all()
    assert (change[y == 3] > 0).all()


@pytest.mark.parametrize("case", ISDAS, ids=lambda case: case.name)
@given(batch=batches())
def test_isda_never_lowers_the_loss(case, batch):
    assert (loss_variation(*batch[:2], case.delta(batch)) >= -1e-12).all()


@random_shift
def test_a_constant_in_delta_changes_nothing(batch, seed, scale):
    u, y = batch[:2]
    delta = normal_like(u, seed, scale)
    moved = loss_variation(u, y, delta + 7.0)
    torch.testing.assert_close(moved, loss_variation(u, y, delta), rtol=0, atol=1e-12)


def test_relative_variation_is_a_ratio_of_sums_and_nan_where_absent():
    u, y = random_batch([0, 0, 3, 3, 3], 5)[:2]
    delta = normal_like(u, seed=0)
    relative = class_relative_variation(u, y, delta)
    for c in (0, 3):
        rows = y == c
        before, after = (F.cross_entropy(v[rows], y[rows]) for v in (u, u + delta))
        assert relative[c].item() == pytest.approx(((after - before) / before).item())
    assert relative[[1, 2, 4]].isnan().all()


def test_relative_variation_tends_to_the_odds_ratio_where_the_class_is_learnt():
    """``dl / l -> e^G - 1`` as ``p_y -> 1``."""
    u, y = torch.tensor([[50.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    delta = torch.tensor([[0.0, 0.7, 0.7]], dtype=torch.float64)
    relative = class_relative_variation(u, y, delta)[0].item()
    assert relative == pytest.approx(np.expm1(0.7), rel=1e-12)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_raised(half):
    u, y = random_batch([0, 1], 3, dtype=half)[:2]
    delta = normal_like(u, seed=0).float()
    for function in (loss_variation, effective_gap):
        value = function(u, y, delta)
        assert value.dtype == torch.float32
        assert torch.equal(value, function(u.float(), y, delta))
