"""Other devices than the CPU (fault 5). No GPU is needed: PyTorch's lazy device, whose
tensors are not the CPU's, stands for a device whose values the host reads; and where a GPU
would check by itself, no operator may run for which the host would wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._lazy.ts_backend
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import lpl_lib.losses as lpl_losses
import lpl_lib.targets as lpl_targets
from lpl_lib import FocalLoss, PerturbedLoss
from lpl_lib.multilabel import MultilabelLogitAdjustment, MultilabelLPL
from tests.cases import CASES, Case, random_batch

torch._lazy.ts_backend.init()
TARGETS = [0, 1, 1, 3, 0, 2, 3]
WAITS = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "is_nonzero"}


def losses(case: Case, device: str) -> Iterator[Tensor]:
    """The loss of a batch and its gradient in logits."""
    batch = random_batch(TARGETS, 4, dtype=torch.float32)
    head = nn.Linear(3, 4, bias=False)
    head.weight = nn.Parameter(batch.head_weight.clone())
    head.to(device)
    criterion = PerturbedLoss(case.make([90, 40, 7, 3], 1.0, head)).to(device)
    head(batch.features.to(device))
    logits = batch.logits.to(device).requires_grad_()
    loss = criterion(logits, batch.targets.to(device))
    loss.backward()
    yield loss.detach().cpu()
    assert logits.grad is not None
    yield logits.grad.cpu()


# the lazy device's torch.cat loses parts of a split tensor: no matter of ours
ELSEWHERE = [case for case in CASES if "ISDA(full)" not in case.name]


@pytest.mark.parametrize("case", ELSEWHERE, ids=lambda case: case.name)
def test_the_same_loss_on_another_device(case):
    for there, here in zip(losses(case, "lazy"), losses(case, "cpu"), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [4, -1, 255])
@pytest.mark.parametrize("base", [None, FocalLoss(2.0)], ids=["CE", "focal"])
def test_a_label_out_of_range_is_refused_on_another_device(bad, base):
    targets = torch.tensor([0, 1, 2, bad]).to("lazy")
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 3\]"):
        PerturbedLoss(base_loss=base)(torch.zeros(4, 4).to("lazy"), targets)


def test_labels_and_logits_are_looked_at_on_another_device():
    half = torch.full((2, 3), 0.5).to("lazy")
    with pytest.raises(ValueError, match="targets must be 0 or 1"):
        PerturbedLoss(MultilabelLPL([5, 9, 2], 20))(half, half)
    with pytest.raises(ValueError, match="logits must be finite"):
        PerturbedLoss()(torch.full((2, 3), torch.nan).to("lazy"), half[:, 0].long())


class Waiting(TorchDispatchMode):
    """Notes the operators whose results the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        self.seen += [name] if name in WAITS else []
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Values are not read by the host, but asserted by the device."""
    for module in (lpl_losses, lpl_targets):
        monkeypatch.setattr(module, "checks_later", lambda tensor: True)
        monkeypatch.setattr(module, "reads_values", lambda tensor, wanted: False)


@pytest.mark.parametrize("base", [None, FocalLoss(2.0)], ids=["CE", "focal"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_host_waits_for_nothing_on_a_gpu(case, base, as_on_a_gpu):
    if base is not None and "linf" in case.name:
        pytest.skip("linf is for cross-entropy alone")
    batch = random_batch(TARGETS, 4, dtype=torch.float32)
    head = batch.head()
    criterion = PerturbedLoss(case.make([90, 40, 7, 3], 1.0, head), base)
    head(batch.features)
    with Waiting() as mode:
        criterion(batch.logits.requires_grad_(), batch.targets).backward()
    assert mode.seen == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultilabelLPL([5, 9, 2], 20),
        lambda: MultilabelLogitAdjustment([5, 9, 2], 20),
        lambda: None,
    ],
)
def test_the_host_waits_for_nothing_with_many_labels(make, as_on_a_gpu):
    logits = torch.zeros(4, 3, requires_grad=True)
    criterion = PerturbedLoss(make(), task="multilabel")
    with Waiting() as mode:
        criterion(logits, torch.eye(4)[:, :3]).backward()
    assert mode.seen == []
    with pytest.raises(RuntimeError, match="targets must be labels"):
        criterion(logits, torch.full((4, 3), 2.0))
