"""LPL and ISDA over several processes equal those over one on the joined batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cases import linear

from lpl_lib import ISDA, LPL, FixedBound, LogitAdjustment, PerturbedLoss

C = 6
COUNTS = [90, 50, 20, 9, 4, 2]
# Class 5 is present on the first process only, class 4 on the last only, class 3 nowhere.
TARGETS = {
    2: [[0, 1, 5, 5], [0, 2, 4, 1]],
    3: [[0, 1, 5, 5], [0, 2, 2, 1], [1, 1, 4, 0]],
}
LOSSES = {
    "confidence": lambda head: LPL(C, bound=1.0),
    "running": lambda head: LPL(C, bound=1.0, decay=0.9, solver="linf"),
    "rank": lambda head: LogitAdjustment(COUNTS) + LPL(COUNTS, FixedBound(1.0)),
    "algorithm1": lambda head: LPL(C, bound=0.5, solver="algorithm1"),
    "isda": lambda head: ISDA(head),
}


def steps(
    name: str, logits: torch.Tensor, targets: torch.Tensor
) -> tuple[list[float], torch.Tensor]:
    """Losses and the last gradient of three steps on growing logits."""
    head = linear(torch.eye(C))  # it leaves the features as they are
    criterion = PerturbedLoss(LOSSES[name](head))
    losses = []
    for scale in (0.5, 1.0, 2.0):
        moved = (scale * logits).requires_grad_()
        head(moved)
        loss = criterion(moved, targets)
        (gradient,) = torch.autograd.grad(loss, moved)
        losses.append(loss.item())
    return losses, gradient


def batch(world: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The joined batch."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.tensor(TARGETS[world])
    return torch.randn(world, 4, C, generator=draw), targets


def worker(rank: int, world: int, port: int, folder: str) -> None:
    """One process: its losses and gradients go into a file."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    logits, targets = batch(world)
    results = {name: steps(name, logits[rank], targets[rank]) for name in LOSSES}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_equal_one(world, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (world, port, str(tmp_path)), nprocs=world)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    logits, targets = batch(world)
    for name in LOSSES:
        losses, gradient = steps(name, logits.flatten(0, 1), targets.flatten())
        shared = torch.tensor([part[name][0] for part in parts]).mean(0)
        torch.testing.assert_close(shared, torch.tensor(losses), rtol=0, atol=1e-6)
        # each process averages over its own samples: world times fewer than the batch
        joined = torch.cat([part[name][1] for part in parts]) / world
        torch.testing.assert_close(joined, gradient, rtol=0, atol=1e-6)


def test_the_means_of_one_process_would_differ():
    """Otherwise the test above could not fail."""
    logits, targets = batch(2)
    alone = [steps("confidence", logits[r], targets[r])[1] for r in range(2)]
    _, together = steps("confidence", logits.flatten(0, 1), targets.flatten())
    assert not torch.allclose(torch.cat(alone) / 2, together, atol=1e-3)
