"""What a loss costs in operator calls, which are exact; and its short ways are right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import CASES, batches, few, random_batch
from hypothesis import given
from torch._subclasses import FakeTensorMode
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from lpl_lib import (
    LDAM,
    LPL,
    VS,
    FixedBound,
    FocalLoss,
    FrequencyBound,
    LogitAdjustment,
    PerturbedLoss,
    RankSplit,
)
from lpl_lib.multilabel import AsymmetricLoss, MultilabelFocalLoss
from lpl_lib.multilabel.base_losses import LabelLoss
from lpl_lib.perturbations import Perturbation

COUNTS = range(100, 0, -1)
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Calls(TorchDispatchMode):
    """Counts the operators that reach a device, in ``number``."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


def calls(perturbation: Perturbation, shape: tuple[int, int] = (128, 100)) -> int:
    """Operators that a perturbation adds to cross-entropy, backward pass included."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.randint(shape[1], shape[:1], generator=draw)
    numbers = []
    for move in (lambda u, y: u, perturbation.move, perturbation.move):
        logits = torch.zeros(shape, requires_grad=True)
        with Calls() as counted:
            F.cross_entropy(move(logits, targets), targets).backward()
        numbers.append(counted.number)
    return numbers[2] - numbers[0]  # the first call may make tables


@pytest.mark.parametrize(
    ("perturbation", "number"),
    [
        (LogitAdjustment(COUNTS), 1),  # as u + log_prior
        (LDAM(COUNTS), 5),
        (VS(COUNTS), 3),  # as u * scales + log_prior
        (LPL(COUNTS, solver="linf"), 4),
        (LPL(COUNTS, FixedBound(0.5), solver="linf"), 4),
        (LPL(COUNTS), 40),
        (LPL(100, solver="linf"), 25),
        (LPL(100), 51),
    ],
    ids=["LA", "LDAM", "VS", "linf", "linf, fixed", "l2", "linf, confidence", "l2, conf."],
)
def test_operators_beside_those_of_cross_entropy(perturbation, number):
    assert calls(perturbation) == number


@pytest.mark.parametrize(
    ("loss", "number"),
    [
        (FocalLoss(), 27),  # in one line: 23
        (PerturbedLoss(base_loss=FocalLoss()), 28),
        (MultilabelFocalLoss(), 25),  # torchvision's: 32
        (AsymmetricLoss(), 55),  # timm's: 66
    ],
    ids=["focal", "focal, checked", "focal, many labels", "ASL"],
)
def test_operators_of_base_losses(loss, number):
    logits = torch.zeros(4, 3, requires_grad=True)
    many = isinstance(loss, LabelLoss)
    targets = torch.eye(4, 3) if many else torch.tensor([0, 2, 1, 1])
    with Calls() as counted:
        loss(logits, targets).backward()
    assert counted.number == number


@every
@few
@given(batch=batches())
def test_moved_logits_are_logits_plus_delta(case, batch):
    """Up to a number that the logits of a sample share, which 'linf' may leave out."""
    delta = case.delta(batch)
    moved = case.for_batch(batch).move(*batch[:2]).detach()
    rest = moved - batch.logits - delta
    torch.testing.assert_close(rest, rest[:, :1].expand_as(rest), rtol=1e-6, atol=2e-6)
    assert "linf" in case.name or rest.abs().max() < 2e-6


@pytest.mark.parametrize("parent", [LogitAdjustment, LDAM])
def test_a_subclass_with_another_delta_moves_by_it(parent):
    class Twice(parent):
        def delta(self, logits, targets):
            return 2 * super().delta(logits, targets)

    u, y = random_batch([0, 1, 2], 3, dtype=torch.float32)[:2]
    assert torch.equal(Twice([3, 2, 1]).move(u, y), u + 2 * parent([3, 2, 1]).delta(u, y))


def test_radii_made_once_follow_what_they_are_made_of():
    u, y = random_batch([0, 1, 2], 3, dtype=torch.float32)[:2]

    def makes(lpl: LPL) -> None:
        fresh = LPL(3, bound=lpl.bound, split=lpl.split, solver="linf")
        assert torch.equal(lpl.move(u, y), fresh.move(u, y))

    lpl = LPL([9, 4, 1], solver="linf")
    makes(lpl)
    lpl.load_state_dict(LPL([1, 4, 9], solver="linf").state_dict())
    makes(lpl)
    lpl.bound = FixedBound(0.3)
    makes(lpl)
    lpl.bound.largest = 0.7
    makes(lpl)
    lpl.bound, lpl.split = FrequencyBound([9, 4, 1], 0.1, 1.0), RankSplit([4, 9, 1])
    makes(lpl)
    makes(lpl.double())


@pytest.mark.parametrize("make", [VS, LogitAdjustment, LDAM, LPL], ids=lambda m: m.__name__)
def test_masked_classes_stay_masked(make):
    u = torch.tensor([[1.0, -torch.inf, 0.5], [0.0, -torch.inf, -torch.inf]])
    u.requires_grad_()
    y = torch.tensor([0, 0])
    loss = F.cross_entropy(make([9, 3, 1]).move(u, y), y)
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.isfinite()
    assert gradient.isfinite().all()


STATELESS = [c for c in CASES if "ISDA" not in c.name and "running" not in c.name]


@pytest.mark.parametrize("case", STATELESS, ids=lambda case: case.name)
def test_gradients_of_each_sample_and_fake_tensors(case):
    """A sample alone, as ``vmap`` gives it; what keeps statistics cannot be mapped."""
    batch = random_batch([0, 2, 2, 1], 4)
    made = case.for_batch(batch)

    def loss(u, y):
        return F.cross_entropy(made.move(u[None], y[None]), y[None])

    found = vmap(grad(loss))(*batch[:2])
    for row, u, y in zip(found, *batch[:2], strict=True):
        u = u.clone().requires_grad_()
        torch.testing.assert_close(row, torch.autograd.grad(loss(u, y), u)[0])
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert made.move(torch.zeros(4, 4), torch.tensor([0, 1, 2, 2])).shape == (4, 4)
    assert made.move(*batch[:2]).isfinite().all()
