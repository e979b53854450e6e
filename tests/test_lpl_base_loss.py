"""LPL around losses other than cross-entropy, and bounds set by their effect."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lpl_lib import L2, LPL, LInf, PerturbedLoss, loss_variation
from lpl_lib.book.theory.calibration import epsilon_for_variation
from lpl_lib.lab.released import Released
from lpl_lib.lab.variants import PGD
from lpl_lib.lpl import Algorithm1
from lpl_lib.variation import rival_score, softplus

C = 7
BY_GRADIENT = [L2(), L2(steps=5), PGD(), Algorithm1(0.1), Released(0.1)]


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in float64 and targets, with an absent class."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(24, C, generator=draw, dtype=torch.float64)
    return logits, torch.randint(C - 1, (24,), generator=draw)


def focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Focal loss with gamma 2, a value for each sample."""
    loss = F.cross_entropy(logits, targets, reduction="none")
    return (1 - torch.exp(-loss)) ** 2 * loss


def smoothed(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Label smoothing, the mean over the batch."""
    return F.cross_entropy(logits, targets, label_smoothing=0.1)


@pytest.mark.parametrize("solver", BY_GRADIENT, ids=str)
def test_autograd_and_closed_form_agree_on_cross_entropy(solver):
    logits, targets = batch()
    for radius in (torch.full((24,), 0.8), torch.full((24,), -0.8)):
        closed = solver(logits, targets, radius, 0.8)
        for base_loss in (F.cross_entropy, torch.nn.CrossEntropyLoss(reduction="none")):
            by_autograd = solver(logits, targets, radius, 0.8, base_loss)
            torch.testing.assert_close(by_autograd, closed)


@pytest.mark.parametrize("base_loss", [focal, smoothed])
@pytest.mark.parametrize("sign", [1, -1])
def test_another_loss_is_moved_the_right_way_class_by_class(base_loss, sign):
    logits, targets = batch(1)
    delta = L2()(logits, targets, torch.full((24,), sign * 0.3), 0.3, base_loss)
    for c in targets.unique():
        own = targets == c
        before = base_loss(logits[own], targets[own]).mean()
        after = base_loss((logits + delta)[own], targets[own]).mean()
        assert sign * (after - before) > 0


def test_pgd_and_many_power_steps_find_the_same_optimum_for_focal_loss():
    logits, targets = batch(2)
    radius = torch.full((24,), -0.5)
    power = L2(steps=200)(logits, targets, radius, 0.5, focal)
    projected = PGD(steps=400, share=0.05)(logits, targets, radius, 0.5, focal)
    values = [focal(logits + delta, targets).mean() for delta in (power, projected)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=0)


def test_lpl_moves_the_base_loss_that_is_named_once():
    """Fault 6: LPL moved the plain cross-entropy unless the loss was named twice."""
    logits, targets = batch(3)
    plain, other = LPL(C, bound=0.5), LPL(C, bound=0.5)
    criterion = PerturbedLoss(other, smoothed)
    assert not torch.allclose(plain(logits, targets), other(logits, targets), atol=1e-3)
    criterion(logits.requires_grad_(), targets).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("solver", [Algorithm1(0.1), L2()], ids=str)
def test_delta_is_the_same_for_every_reduction(solver, reduction):
    """Fault 7: with ``reduction="sum"`` Algorithm 1 went 40 times as far."""
    logits, targets = batch(3)
    for smoothing in (0.0, 0.1):
        base = [
            torch.nn.CrossEntropyLoss(reduction=r, label_smoothing=smoothing)
            for r in ("mean", reduction)
        ]
        lpls = [LPL(C, bound=0.5, solver=solver) for _ in base]
        for lpl, loss in zip(lpls, base, strict=True):
            PerturbedLoss(lpl, loss)
        torch.testing.assert_close(*(lpl(logits, targets) for lpl in lpls))


def test_class_weights_leave_the_closed_form():
    """A class's weight scales its loss, and changes nothing about the best delta."""
    logits, targets = batch(3)
    weighted = LPL(C, bound=0.5, solver="linf")
    PerturbedLoss(weighted, torch.nn.CrossEntropyLoss(torch.arange(1.0, C + 1)))
    plain = LPL(C, bound=0.5, solver="linf")
    assert torch.equal(weighted(logits, targets), plain(logits, targets))


def test_the_closed_form_refuses_another_loss():
    with pytest.raises(ValueError, match="'linf' is the closed form for cross-entropy"):
        PerturbedLoss(LPL(C, solver="linf"), focal)


@pytest.mark.parametrize("solver", [LInf(), *BY_GRADIENT[:3]], ids=str)
@pytest.mark.parametrize("variation", [-0.5, -0.1, 0.2, 1.0])
def test_the_bound_found_causes_the_wanted_variation(solver, variation):
    logits, targets = batch(4)
    epsilon = epsilon_for_variation(solver, logits, targets, variation)
    radius = torch.full((24,), epsilon if variation > 0 else -epsilon)
    change = loss_variation(logits, targets, solver(logits, targets, radius, epsilon))
    reached = change.sum() / softplus(rival_score(logits, targets)).sum()
    assert reached.item() == pytest.approx(variation, abs=1e-4)


@pytest.mark.parametrize("variation", [0.0, -1.5, float("nan")])
def test_a_variation_out_of_reach_says_how_far_the_solver_gets(variation):
    with pytest.raises(ValueError, match="variation must be a share that LInf"):
        epsilon_for_variation(LInf(), *batch(5), variation)


def test_lpl_reports_the_variation_it_causes_and_keeps_its_state():
    logits, targets = batch(6)
    lpl = LPL(C, bound=0.5, decay=0.9)
    lpl(logits, targets)
    state = {name: value.clone() for name, value in lpl.state_dict().items()}
    report = lpl.class_variation(logits, targets)
    assert lpl.training
    assert all(torch.equal(state[name], value) for name, value in lpl.state_dict().items())
    raised = lpl.split(lpl.confidence.eval()(logits, targets)) > 0
    present = torch.bincount(targets, minlength=C) > 0
    assert torch.equal(report.isnan(), ~present)
    assert torch.equal(report[present] > 0, raised[present])
