"""LPL under autocast and torch.compile, and without asking the device anything."""

from __future__ import annotations

import pytest
import torch

from lpl_lib import (
    ISDA,
    LPL,
    ConfidenceBound,
    FrequencyBound,
    LogitAdjustment,
    PerturbedLoss,
    RankSplit,
)
from lpl_lib.lab.released import Released
from lpl_lib.lab.variants import PGD, ConfidenceRatioBound
from lpl_lib.lpl import Algorithm1

C = 10
COUNTS = [300, 200, 90, 60, 30, 20, 9, 6, 3, 2]
PERTURBATIONS = {
    "linf": lambda: LPL(C, solver="linf"),
    "l2": lambda: LPL(C, solver="l2"),
    "pgd": lambda: LPL(C, solver=PGD(steps=4)),
    "algorithm1": lambda: LPL(C, solver=Algorithm1(0.1)),
    "released": lambda: LPL(C, solver=Released(0.1)),
    "running": lambda: LPL(C, bound=ConfidenceBound(0.1, 1.0), decay=0.9),
    "printed Eq. 14": lambda: LPL(
        C, ConfidenceRatioBound(COUNTS, 0, 1), split=RankSplit(COUNTS)
    ),
    "LA + LPL": lambda: LogitAdjustment(COUNTS) + LPL(COUNTS, FrequencyBound(COUNTS, 0, 1)),
}
each_perturbation = pytest.mark.parametrize("name", PERTURBATIONS)


def batch(size: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets, with a class that is absent."""
    draw = torch.Generator().manual_seed(seed)
    return (
        2 * torch.randn(size, C, generator=draw),
        torch.randint(C - 1, (size,), generator=draw),
    )


@each_perturbation
def test_compiles_without_a_graph_break(name):
    torch.compiler.reset()
    logits, targets = batch()
    plain = PerturbedLoss(PERTURBATIONS[name]())
    compiled = PerturbedLoss(PERTURBATIONS[name]())
    compiled = torch.compile(compiled, fullgraph=True, backend="eager")
    results = []
    for criterion in (plain, compiled):
        moved = logits.clone().requires_grad_()
        loss = criterion(moved, targets)
        loss.backward()
        results.append((loss.detach(), moved.grad))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_isda_compiles_without_a_graph_break(covariance):
    """Its statistics have static shapes: no look at which classes a batch holds."""
    torch.compiler.reset()
    features, targets = batch()
    results = []
    for wrap in (lambda f: f, lambda f: torch.compile(f, fullgraph=True, backend="eager")):
        head = torch.nn.Linear(C, C, bias=False)
        head.weight.data = torch.eye(C)
        isda = ISDA(head, covariance=covariance)
        loss = wrap(PerturbedLoss(isda))
        logits = head(features)
        loss(logits, targets).backward()
        results.append((head.weight.grad, dict(isda.state_dict())))
    torch.testing.assert_close(*results)


@each_perturbation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_the_loss_is_that_of_the_rounded_logits(name, dtype):
    features, targets = batch()
    head = torch.nn.Linear(C, C)
    criterion = PerturbedLoss(PERTURBATIONS[name]())
    with torch.autocast("cpu", dtype=dtype):
        logits = head(features)
        loss = criterion(logits, targets)
    assert logits.dtype == dtype
    assert loss.dtype == torch.float32
    expected = PerturbedLoss(PERTURBATIONS[name]())(logits.float(), targets)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert head.weight.grad.isfinite().all()


@each_perturbation
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_asks_the_device_nothing(name):
    criterion = PerturbedLoss(PERTURBATIONS[name]()).cuda()
    logits, targets = (part.cuda() for part in batch())
    criterion(logits, targets)  # the first call may set things up
    torch.cuda.set_sync_debug_mode("error")
    try:
        criterion(logits.requires_grad_(), targets).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_logits_that_are_not_contiguous():
    logits, targets = batch()
    strided = torch.empty(C, 32).T.copy_(logits)
    assert not strided.is_contiguous()
    for make in PERTURBATIONS.values():
        expected = PerturbedLoss(make())(logits, targets)
        torch.testing.assert_close(PerturbedLoss(make())(strided, targets), expected)
