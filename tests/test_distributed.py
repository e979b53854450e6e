"""LPL and ISDA over several processes equal those over one on the joined batch.

Fault "several processes": batches of unequal size ended gloo without a cause, and a loss
on one process alone waited for ever.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cases import linear
from torch import Tensor, nn

from lpl_lib import ISDA, LPL, ConfidenceSplit, FixedBound, LogitAdjustment, PerturbedLoss
from lpl_lib.lpl import distributed
from lpl_lib.multilabel import MultilabelLPL

pytestmark = pytest.mark.process
C = 6
COUNTS = [90, 50, 20, 9, 4, 2]
# Class 5 is present on the first process only, class 4 on the second only, class 3 nowhere.
TARGETS = [[0, 1, 5, 5, 0, 2, 1, 0], [0, 2, 4, 1, 1, 2, 0], []]
MARKED = [[0, 1, -100, 5], [-100] * 3, [2, 2]]  # with labels to leave out
BATCHES = {
    "equal": [[0, 1, 5, 5], [0, 2, 4, 1]],
    "8 and 7": TARGETS[:2],
    "8, 7 and none": TARGETS,
    "7, none and 8": [TARGETS[1], [], TARGETS[0]],
    "ignored": MARKED,
}
FEATURES = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % C
LOSSES = {
    "confidence": lambda head, group: LPL(C, bound=1.0, process_group=group),
    "running": lambda head, group: LPL(
        C, bound=1.0, decay=0.9, solver="linf", process_group=group
    ),
    "rank": lambda head, group: (
        LogitAdjustment(COUNTS) + LPL(COUNTS, FixedBound(1.0), process_group=group)
    ),
    "algorithm1": lambda head, group: LPL(
        C, bound=0.5, solver="algorithm1", process_group=group
    ),
    "isda": lambda head, group: ISDA(head, process_group=group),
    "LA": lambda head, group: LogitAdjustment(COUNTS),
    "labels": lambda head, group: MultilabelLPL(
        COUNTS, 200, 1.0, split=ConfidenceSplit(), decay=0.9, process_group=group
    ),
}


def steps(
    name: str, logits: Tensor, targets: Tensor, group: Any = None
) -> tuple[list[float], Tensor]:
    """Losses and the last gradient of three steps on growing logits."""
    head = linear(torch.eye(C))  # it leaves the features as they are
    criterion = PerturbedLoss(LOSSES[name](head, group))
    if name == "labels":
        one_hot = torch.nn.functional.one_hot(targets.clamp(min=0), C)
        targets = one_hot * (targets >= 0)[:, None]
    losses = []
    for scale in (0.5, 1.0, 2.0):
        moved = (scale * logits).requires_grad_()
        head(moved)
        loss = criterion(moved, targets)
        (gradient,) = torch.autograd.grad(loss, moved)
        losses.append(loss.item())
    return losses, gradient


def batches(targets: list[list[int]]) -> list[tuple[Tensor, Tensor]]:
    """The batch of each process."""
    draw = torch.Generator().manual_seed(0)
    return [
        (torch.randn(len(labels), C, generator=draw), torch.tensor(labels).long())
        for labels in targets
    ]


def joined(targets: list[list[int]]) -> tuple[Tensor, Tensor]:
    parts = batches(targets)
    return torch.cat([u for u, _ in parts]), torch.cat([y for _, y in parts])


def start(rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)


def worker(rank: int, world: int, port: int, folder: str) -> None:
    """One process: its losses and gradients go into a file."""
    start(rank, world, port)
    results = {}
    for key, targets in BATCHES.items():
        if len(targets) == world:
            own = batches(targets)[rank]
            results |= {(key, name): steps(name, *own) for name in LOSSES}
    alone = dist.new_group([0])
    dist.barrier()
    if rank == 0:  # the group of one: no other process is asked
        own = batches(TARGETS)[0]
        results |= {("alone", name): steps(name, *own, group=alone) for name in LOSSES}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def spawned(function: Callable[..., None], world: int, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(function, (world, port, str(folder)), nprocs=world)


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_equal_one(world, tmp_path):
    spawned(worker, world, tmp_path)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for key, targets in BATCHES.items():
        if len(targets) != world:
            continue
        for name in LOSSES:
            # each process averages over its own samples that count
            sizes = [sum(y >= 0 or name == "labels" for y in rows) for rows in targets]
            share = torch.tensor(sizes) / sum(sizes)
            losses, gradient = steps(name, *joined(targets))
            shared = share @ torch.tensor([part[key, name][0] for part in parts])
            torch.testing.assert_close(shared, torch.tensor(losses), rtol=0, atol=1e-6)
            slopes = [s * part[key, name][1] for s, part in zip(share, parts, strict=True)]
            torch.testing.assert_close(torch.cat(slopes), gradient, rtol=0, atol=1e-6)
    for name in LOSSES:
        expected = steps(name, *batches(TARGETS)[0])
        torch.testing.assert_close(parts[0]["alone", name], expected)


def test_the_means_of_one_process_would_differ():
    """Otherwise the test above could not fail."""
    targets = BATCHES["equal"]
    alone = [steps("confidence", *own)[1] for own in batches(targets)]
    _, together = steps("confidence", *joined(targets))
    assert not torch.allclose(torch.cat(alone) / 2, together, atol=1e-3)


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, C))


def net_gradients(net: nn.Sequential, features: Tensor, targets: Tensor) -> list[Tensor]:
    """After two steps, so that ISDA knows covariances."""
    criterion = PerturbedLoss(ISDA(net[2]) + LPL(COUNTS, decay=0.9))
    for _ in range(2):
        net.zero_grad()
        criterion(net(features), targets).backward()
    grads = [weight.grad for weight in net.parameters()]
    return [g.full_tensor() if hasattr(g, "full_tensor") else g for g in grads]


def sharded(rank: int, world: int, port: int, folder: str) -> None:
    """Each layer's weights are spread over the processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # slow to import: only here

    start(rank, world, port)
    net, mesh = small_net(), init_device_mesh("cpu", (world,))
    for part in (net[0], net[2], net):
        fully_shard(part, mesh=mesh)
    rows = slice(4 * rank, 4 * rank + 4)
    found = net_gradients(net, FEATURES[rows], LABELS[rows])
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_a_head_that_fsdp_shards(tmp_path):
    """ISDA reads the head's weight after its forward pass, when FSDP has put it away."""
    spawned(sharded, 2, tmp_path)
    expected = net_gradients(small_net(), FEATURES, LABELS)
    torch.testing.assert_close(torch.load(tmp_path / "0.pt"), expected, rtol=0, atol=1e-6)


def lonely(rank: int, world: int, port: int, folder: str) -> None:
    """The first process computes a training loss that the second never does."""
    start(rank, world, port)
    if rank == 0:
        distributed.PATIENCE = 0.2
        own = batches(TARGETS)[0]
        Path(folder, "begun").touch()
        with (
            pytest.warns(UserWarning, match=r"waiting for another .* in training mode"),
            pytest.raises(RuntimeError, match="each process of its group to compute"),
        ):
            steps("confidence", *own)
        Path(folder, "told").touch()
        os._exit(0)  # gloo's own threads may abort a process that lost its partner
    else:
        while not Path(folder, "begun").exists():
            time.sleep(0.05)
        time.sleep(3)


def test_a_loss_on_one_process_only_is_told_the_rule(tmp_path):
    """A warning while it waits, and an error as soon as the other has gone."""
    spawned(lonely, 2, tmp_path)
    assert (tmp_path / "told").exists()
