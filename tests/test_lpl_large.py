"""Thousands of classes: memory stays linear in the logits, and samples stay right."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lpl_lib import LPL, FixedBound, PerturbedLoss, RankSplit

# Peak memory of a process, with the loss alone and with LPL, in tensors of logits' size.
SCRIPT = """
import resource, sys, torch
from lpl_lib import LPL, PerturbedLoss
from lpl_lib.lab.variants import PGD
solver = {"pgd": PGD()}.get(sys.argv[1], sys.argv[1])
torch.set_num_threads(1)
small = PerturbedLoss(LPL(9, solver=solver))
small(torch.randn(4, 9), torch.arange(4))  # loads what any call loads
logits = torch.randn(256, 8142)
targets = torch.randint(8142, (256,))
criterion = PerturbedLoss(LPL(8142, bound=0.02, solver=solver))
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
criterion(logits, targets)
print((peak() - before) / (4 * logits.numel()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's unit of peak memory")
@pytest.mark.parametrize("solver", ["linf", "l2", "pgd", "algorithm1"])
def test_peak_memory_is_a_few_tensors_of_logits(solver):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, solver], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= 6


@pytest.mark.parametrize("num_classes", [8142, 21841])
@pytest.mark.parametrize("solver", ["linf", "l2"])
def test_a_batch_of_few_classes_among_thousands(num_classes, solver):
    """The other classes' samples make no difference, and the bound is used up."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(8, num_classes, generator=draw)
    targets = torch.tensor([0, 5, 5, num_classes - 1, 77, 0, 4000, 4000])
    split = RankSplit(range(num_classes, 0, -1))
    lpl = LPL(num_classes, FixedBound(0.5), split=split, solver=solver)
    delta = lpl(logits, targets)
    own = targets == 5
    torch.testing.assert_close(lpl(logits[own], targets[own]), delta[own])
    norm = delta.norm(dim=1) if solver == "l2" else delta.abs().amax(1)
    torch.testing.assert_close(norm, torch.full((8,), 0.5))
    change = PerturbedLoss(lpl)(logits[own], targets[own])
    assert change < PerturbedLoss()(logits[own], targets[own])  # class 5 is of the head
