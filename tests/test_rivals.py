"""Equalization, seesaw and GCL against ten-line references, and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cases import class_counts, random_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lpl_lib import LPL, LogitAdjustment, PerturbedLoss, loss_variation
from lpl_lib.lab.rivals import GCL, Equalization, Seesaw

C = 5
TARGETS = [0, 1, 1, 2, 4, 0, 3]
BATCH = random_batch(TARGETS, C)
COUNTS = class_counts(C)


# --- references: one sample, one rival at a time ------------------------------------------


def seesaw_reference(u: Tensor, y: Tensor, n: list[float], a: float, b: float) -> Tensor:
    """The mean loss from the factors of the paper."""
    total = 0.0
    for row, own in zip(u.tolist(), y.tolist(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        below = math.exp(row[own])
        for k in range(len(row)):
            if k != own:
                mitigation = min(1.0, n[k] / n[own]) ** a
                compensation = max(1.0, p[k] / max(p[own], 0.01)) ** b
                below += mitigation * compensation * math.exp(row[k])
        total -= math.log(math.exp(row[own]) / below)
    return torch.tensor(total / len(u), dtype=torch.float64)


@pytest.mark.parametrize(("a", "b"), [(0.8, 2.0), (0.0, 1.0), (1.5, 0.0)])
def test_seesaw_against_its_factors(a, b):
    u, y = BATCH[:2]
    loss = PerturbedLoss(Seesaw(COUNTS, a, b))(u, y)
    torch.testing.assert_close(loss, seesaw_reference(u, y, COUNTS, a, b))


def test_equalization_takes_rare_rivals_out():
    u, y = BATCH[:2]
    equalization = Equalization([90, 8, 40, 2, 30], gamma=1.0)
    rare = torch.tensor([False, True, False, True, False])
    expected = [
        -(
            row[own].exp()
            / row[[k for k in range(C) if k == own or not rare[k]]].exp().sum()
        ).log()
        for row, own in zip(u, y.tolist(), strict=True)
    ]
    loss = PerturbedLoss(equalization)(u, y)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.95])
def test_equalization_draws_with_its_probability(gamma):
    torch.manual_seed(0)
    u, y = torch.zeros(4000, 3), torch.zeros(4000).long()
    gone = Equalization([90, 8, 2], gamma=gamma)(u, y) < 0
    assert not gone[:, 0].any()
    assert torch.equal(gone[:, 1], gone[:, 2])  # one draw a sample
    assert gone[:, 1].float().mean() == pytest.approx(gamma, abs=0.03)


def test_gcl_with_a_seed_and_in_the_mean():
    u, y = BATCH[:2]
    gcl = GCL(COUNTS, noise=0.5, scale=30.0)
    torch.manual_seed(1)
    delta = gcl(u, y)
    torch.manual_seed(1)
    draw = (torch.randn_like(u) / 3).clamp(-1, 1).abs()
    gap = (max(COUNTS) / torch.tensor(COUNTS).double()).log()
    torch.testing.assert_close(delta, -15 * draw * (gap / gap.max()).float())
    torch.manual_seed(0)
    mean = gcl(torch.zeros(20000, C), torch.zeros(20000).long()).mean(0)
    # E|N(0, 1/9)| cut to 1: the mean of a half-normal, but for its tail beyond 3 sigma
    half_normal = math.sqrt(2 / math.pi) / 3
    torch.testing.assert_close(
        mean, -15 * half_normal * (gap / gap.max()).float(), atol=0.1, rtol=0
    )


# --- laws --------------------------------------------------------------------------------


@given(seed=st.integers(0, 999))
def test_the_sign_of_the_loss_variation(seed):
    u, y = random_batch(TARGETS, C, seed=seed)[:2]
    lowered = Seesaw(COUNTS, compensation=0.0)(u, y)
    raised = Seesaw(COUNTS, mitigation=0.0)(u, y)
    assert (loss_variation(u, y, lowered) <= 1e-9).all()
    assert (loss_variation(u, y, raised) >= -1e-9).all()
    gone = Equalization(COUNTS, 0.15)(u, y)
    assert (loss_variation(u, y, gone) <= 1e-9).all()


SHIFTED = [
    lambda: Seesaw(COUNTS),
    lambda: Seesaw(COUNTS, 1.0, 0.0),
    lambda: GCL(COUNTS, 0.0),
    lambda: Equalization(COUNTS, 0.15, 1.0),
]


@pytest.mark.parametrize("make", SHIFTED)
def test_a_shift_of_all_logits_changes_nothing(make):
    u, y = BATCH[:2]
    torch.testing.assert_close(make()(u + 5, y), make()(u, y))


def test_without_mitigation_by_the_sample_it_is_of_the_class():
    u, y = BATCH[:2]
    delta = Seesaw(COUNTS, compensation=0.0)(u, y)
    assert torch.equal(delta[0], delta[5])
    assert torch.equal(Seesaw(COUNTS, 0.8, 0.0)(torch.zeros_like(u), y), delta)


@pytest.mark.parametrize("make", [lambda: Seesaw(COUNTS), lambda: GCL(COUNTS)])
def test_they_add_to_others_and_train(make):
    u, y = BATCH[:2]
    u = u.clone().requires_grad_()
    PerturbedLoss(make() + LogitAdjustment(COUNTS) + LPL(COUNTS))(u, y).backward()
    assert u.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_equalization_stays_finite(dtype):
    u = BATCH.logits.to(dtype).detach().clone().requires_grad_()
    both = Equalization(COUNTS, 0.15, 1.0) + Equalization(COUNTS, 0.15, 1.0)
    loss = PerturbedLoss(both)(u, BATCH.targets)
    loss.backward()
    assert loss.isfinite()
    assert u.grad.isfinite().all()
    assert both(u.detach(), BATCH.targets).softmax(1).isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Equalization(COUNTS, 1e-6),
            "threshold must part the classes.* 0 are rare",
        ),
        (lambda: Equalization(COUNTS, 1.0), "threshold must part the classes.* 5 are rare"),
        (
            lambda: Equalization(COUNTS, 0.15, 1.5),
            r"gamma must be a probability in \[0, 1\]",
        ),
        (lambda: GCL([5, 5]), "class_counts must differ, got 5 for all"),
        (lambda: GCL(COUNTS, noise=-1), "noise must be a finite number >= 0, got -1"),
        (lambda: Seesaw(COUNTS, mitigation=-1), "mitigation must be a finite number >= 0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
