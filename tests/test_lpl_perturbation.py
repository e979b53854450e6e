"""LPL as a whole: split, bound and solver together, and the gradient it leaves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import LPLS, SOLVERS, batches, class_counts, few, random_batch
from hypothesis import given

from lpl_lib import (
    L2,
    LPL,
    ConfidenceBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    LogitAdjustment,
    PerturbedLoss,
    RankSplit,
)
from lpl_lib.lpl import ClassConfidence

every_lpl = pytest.mark.parametrize("case", LPLS, ids=lambda case: case.name)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


@every_lpl
@few
@given(batch=batches())
def test_each_class_is_moved_the_way_its_split_says(case, batch):
    lpl = case.for_batch(batch)
    u, y = batch[:2]
    signs = lpl.split(ClassConfidence(u.shape[1])(u, y))
    losses = [F.cross_entropy(u + shift, y, reduction="none") for shift in (lpl(u, y), 0.0)]
    change = losses[0] - losses[1]
    assert (change * signs[y] >= -1e-12).all()


@every_lpl
@few
@given(batch=batches())
def test_the_gradient_holds_delta_constant(case, batch):
    u, y = batch[:2]
    delta = case.delta(batch)
    loss = PerturbedLoss(case.for_batch(batch))(u.requires_grad_(), y)
    loss.backward()
    expected = ((u.detach() + delta).softmax(1) - F.one_hot(y, u.shape[1])) / len(y)
    torch.testing.assert_close(u.grad, expected, rtol=1e-10, atol=1e-13)
    assert not delta.requires_grad


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "released"])
def test_delta_depends_on_no_other_class(solver):
    """With a fixed threshold; with the mean confidence, others do move the threshold."""
    make = SOLVERS[solver]
    u, y = random_batch([0, 0, 1, 2, 2], 4)[:2]
    others = torch.where((y == 0)[:, None], u, -2 * u)
    for split in (ConfidenceSplit(0.3), RankSplit([9, 4, 2, 1])):
        lpl = LPL(4, bound=0.8, split=split, solver=make())
        torch.testing.assert_close(
            lpl(u, y)[:2], lpl(others, y)[:2], rtol=1e-12, atol=1e-12
        )
        torch.testing.assert_close(lpl(u, y)[:2], lpl(u[:2], y[:2]), rtol=1e-12, atol=1e-12)


@every_solver
def test_absent_classes_play_no_part(solver):
    """Confidences .9 and .7 have the mean .8. Eight absent classes counted as zeros
    would bring it to .16, and have both classes lowered."""
    p = torch.full((2, 10), 0.01).double()
    p[0, 3], p[1, 8] = 0.9, 0.7
    p = torch.where(p > 0.5, p, (1 - p.amax(1, keepdim=True)) / 9)
    lpl = LPL(10, bound=0.5, solver=SOLVERS[solver]())
    change = (
        PerturbedLoss(lpl, torch.nn.CrossEntropyLoss(reduction="none"))(
            p.log(), torch.tensor([3, 8])
        )
        + p[[0, 1], [3, 8]].log()
    )
    assert change[0] < 0 < change[1]


def test_la_plus_lpl_is_lpl_solved_on_the_adjusted_logits():
    """By hand: rank split, frequency bound, two steps on ``u + log pi``."""
    counts = class_counts(4)
    batch = random_batch([0, 1, 1, 3], 4)
    u, y = batch[:2]
    both = LogitAdjustment(counts) + LPL(
        counts, FrequencyBound(counts, 0.1, extra=0.6), split=RankSplit(counts, num_head=2)
    )
    n = torch.tensor(counts).double()
    adjusted = u + (n / n.sum()).log()
    head = n >= n.sort(descending=True).values[1]
    epsilon = torch.where(head, 0.1 + 0.6 * n / n.max(), 0.1 + 0.6 * n.min() / n)
    expected = adjusted.clone()
    for c in y.unique():
        rows, sign = y == c, -1 if head[c] else 1
        delta = torch.zeros(4).double()
        for _ in range(2):
            g = (adjusted[rows] + delta).softmax(1).mean(0) - F.one_hot(c, 4)
            direction = sign * g / g.norm()
            if sign < 0 and delta.any():
                direction = delta / delta.norm() + direction
            delta = epsilon[c] * direction / direction.norm()
        expected[rows] += delta
    torch.testing.assert_close(u + both(u, y), expected, rtol=1e-6, atol=1e-6)
    loss = PerturbedLoss(both)(u, y)
    torch.testing.assert_close(loss, F.cross_entropy(expected, y), rtol=1e-6, atol=1e-6)


@every_solver
def test_the_running_mean_decides_the_sign(solver):
    """Class 1 was learnt badly so far: one good sample does not make it a learnt one."""
    good, bad = (
        torch.tensor([[3.0, 0.0], [0.0, 3.0]]),
        torch.tensor([[3.0, 0.0], [3.0, 0.0]]),
    )
    y = torch.tensor([0, 1])
    lpl = LPL(2, 0.5, split=ConfidenceSplit(0.5), solver=SOLVERS[solver](), decay=0.9)
    lpl(bad, y)
    raised = PerturbedLoss(lpl, torch.nn.CrossEntropyLoss(reduction="none"))(good, y)
    plain = F.cross_entropy(good, y, reduction="none")
    assert raised[0] < plain[0]
    assert raised[1] > plain[1]


def test_the_running_mean_is_saved_and_frozen_with_the_criterion():
    batch = random_batch([0, 1, 1], 3)
    first = PerturbedLoss(LPL(3, decay=0.5))
    first(*batch[:2])
    second = PerturbedLoss(LPL(3, decay=0.5))
    second.load_state_dict(first.state_dict())
    later = random_batch([0, 2, 1], 3, seed=5)
    assert torch.equal(first.eval()(*later[:2]), second.eval()(*later[:2]))
    assert first.perturbation.confidence.seen.tolist() == [True, True, False]


def test_bounds_vary_with_the_class():
    """Eq. 13 with the Euclidean solver: the norm of delta is the class's own bound."""
    u, y = random_batch([0, 1, 2], 3)[:2]
    lpl = LPL(3, bound=ConfidenceBound(0.2, extra=1.5))
    q = u.softmax(1).gather(1, y[:, None])[:, 0]
    expected = 0.2 + 1.5 * (q - q.mean()).abs()
    torch.testing.assert_close(lpl(u, y).norm(dim=1), expected, rtol=1e-5, atol=1e-6)


def test_defaults_and_short_forms():
    u, y = random_batch([0, 1, 1], 3)[:2]
    plain = LPL(3)(u, y)
    spelt_out = LPL(
        3, FixedBound(0.5), split=ConfidenceSplit(), solver=L2(steps=2, damping=0.5)
    )
    assert torch.equal(plain, spelt_out(u, y))
    counts = [9, 4, 1]
    spelt_out = LPL(3, FrequencyBound(counts, 0.0, 0.7), split=RankSplit(counts))
    assert torch.equal(LPL(counts, bound=0.7)(u, y), spelt_out(u, y))
    assert LPL(torch.tensor(5).item()).num_classes == 5
