"""What the losses cost: alone beside their plain peers, and in a whole training step.

    make bench

The sides of a comparison run in random order in each round, twice in a row: the first time
the caches are cold, filled by another side, as after a network's backward pass; the second
time they are warm. Peers are written as one line of PyTorch, from their formulas, or come
from torchvision and timm; memory that is freed is kept (see the Makefile). The table goes
into ``results/loss_benchmark.json``.

Where there is a GPU, the losses alone and the training step run there too, each operator
launched by the host, and all of them as one CUDA graph; where there is none, the table says
that it was not measured.
"""

from __future__ import annotations

import datetime
import gc
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cpuinfo
import pytest
import torch
import torch.nn.functional as F
from timm.loss import AsymmetricLossMultiLabel
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import sigmoid_focal_loss

import lpl_lib
from lpl_lib import (
    ISDA,
    LDAM,
    LPL,
    VS,
    FixedBound,
    FocalLoss,
    LogitAdjustment,
    PerturbedLoss,
)
from lpl_lib.lab.models import CifarResNet
from lpl_lib.lab.released import Released
from lpl_lib.lab.variants import PGD
from lpl_lib.lpl import Algorithm1
from lpl_lib.multilabel import AsymmetricLoss, BCELoss, MultilabelFocalLoss

RESULTS = Path(__file__).parents[1] / "results" / "loss_benchmark.json"
SHAPES = [(128, 10), (128, 100), (512, 100), (256, 1000), (256, 8142), (256, 16284)]
LABEL_SHAPES = [(32, 20), (128, 80), (256, 1000)]
NUM_FEATURES = 64  # of ISDA's head, as in a ResNet-32

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def peers(num_classes: int, device: str = "cpu") -> dict[str, Loss]:
    """Plain forms by the name of the side that they are compared with."""
    n = torch.arange(num_classes, 0, -1).double()
    prior, margins, scales = (
        table.float().to(device)
        for table in ((n / n.sum()).log(), 0.5 * n**-0.25, (n / n.max()) ** 0.05)
    )
    shifts = -0.8 * LPL(n).split(None).to(device)
    ce = F.cross_entropy
    return {
        "LA": lambda u, y: ce(u + prior, y),
        "LDAM": lambda u, y: ce(u.scatter_add(1, y[:, None], -margins[y][:, None]), y),
        "VS": lambda u, y: ce(u * scales + prior, y),
        "linf": lambda u, y: ce(u.scatter_add(1, y[:, None], shifts[y][:, None]), y),
        "focal": lambda u, y: _focal(ce(u, y, reduction="none")),
    }


def _focal(loss: torch.Tensor) -> torch.Tensor:
    return ((1 - torch.exp(-loss)) * loss).mean()


def sides(num_classes: int, device: str = "cpu") -> dict[str, Loss]:
    """Ours by name. Signs by rank and a fixed bound, but where a name says otherwise."""
    counts = range(num_classes, 0, -1)

    def lpl(solver: Any) -> PerturbedLoss:
        return PerturbedLoss(LPL(counts, FixedBound(0.4), solver=solver))

    made: dict[str, Any] = {
        "PerturbedLoss(None)": PerturbedLoss(),
        "LA": PerturbedLoss(LogitAdjustment(counts)),
        "LDAM": PerturbedLoss(LDAM(counts)),
        "VS": PerturbedLoss(VS(counts)),
        "focal": PerturbedLoss(base_loss=FocalLoss()),
        "linf": lpl("linf"),
        "l2": lpl("l2"),
        "linf, split by confidence": PerturbedLoss(LPL(num_classes, solver="linf")),
        "l2, split by confidence": PerturbedLoss(LPL(num_classes, solver="l2")),
        "ISDA, diagonal": isda(num_classes, device),
        "pgd, 20 steps": lpl(PGD()),
        "algorithm1, 40 steps": lpl(Algorithm1(0.01)),
        "released, 40 steps": lpl(Released(0.01)),
    }
    modules = (loss for loss in made.values() if isinstance(loss, torch.nn.Module))
    for loss in modules:
        loss.to(device)
    return made


SLOW = 4  # of these, the last ones: a few rounds will do


def isda(num_classes: int, device: str = "cpu") -> Loss:
    """ISDA, its head's pass included."""
    head = torch.nn.Linear(NUM_FEATURES, num_classes, device=device)
    criterion = PerturbedLoss(ISDA(head, covariance="diagonal")).to(device)
    features = torch.randn(512, NUM_FEATURES, device=device)

    def loss(u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return criterion(u + head(features[: len(y)]), y)

    return loss


@pytest.fixture(scope="session")
def table() -> Iterator[dict[str, Any]]:
    """The record, written when all benchmarks have run."""
    record: dict[str, Any] = {"rows": [], "labels": []}
    yield record
    if record["rows"] and record["labels"] and {"step", "cuda"} <= set(record):
        about = {
            "machine": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()),
            "threads": torch.get_num_threads(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "lpl_lib": lpl_lib.__version__,
            },
            "date": datetime.date.today().isoformat(),
            "measure": "CPU time of forward and backward, sides in random order; medians "
            "over rounds; ratio and warm as multiples of plain cross-entropy, with cold "
            "and with warm caches; peer as a multiple of the plain form; calls",
        }
        text = json.dumps(about | record, indent=1)
        RESULTS.write_text(text + "\n", encoding="utf-8")


def interleaved(
    actions: dict[str, Callable[[], object]], rounds: int, twice: bool = True
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each action with cold caches, and with warm ones (if ``twice``)."""
    cold: dict[str, list[float]] = {name: [] for name in actions}
    warm: dict[str, list[float]] = {name: [] for name in actions}
    order, draw = list(actions.items()), random.Random(0)
    for _, action in order:
        action()  # makes what is made once
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        draw.shuffle(order)
        for name, action in order:
            for times in (cold, warm) if twice else (cold,):
                began = time.thread_time()  # whatever else the machine does
                action()
                times[name].append(time.thread_time() - began)
    gc.enable()
    medians = [{k: statistics.median(v) for k, v in t.items() if v} for t in (cold, warm)]
    return medians[0], medians[1]


class Calls(TorchDispatchMode):
    """Counts the operators that reach the device, in ``number``."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


def calls(action: Callable[[], object]) -> int:
    with Calls() as counted:
        action()
    return counted.number


def backward(loss: Loss, logits: torch.Tensor, targets: torch.Tensor) -> Callable[[], None]:
    def action() -> None:
        logits.grad = None
        loss(logits, targets).backward()

    return action


@pytest.mark.parametrize(("size", "num_classes"), SHAPES, ids=str)
def test_loss_alone(table, size, num_classes):
    """Forward and backward of the loss, as multiples of plain cross-entropy."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(size, num_classes, generator=draw, requires_grad=True)
    targets = torch.randint(num_classes, (size,), generator=draw)
    ours, plain = sides(num_classes), peers(num_classes)
    everything = {"cross-entropy": F.cross_entropy} | ours
    everything |= {f"{name}, plain": loss for name, loss in plain.items()}
    actions = {name: backward(loss, logits, targets) for name, loss in everything.items()}
    slow = dict.fromkeys([*list(ours)[-SLOW:], "cross-entropy"])
    fast = {name: actions[name] for name in actions if name not in list(slow)[:SLOW]}
    few = num_classes <= 1000  # the larger sizes take long
    rounds = (100, 20) if few else (100, 3) if num_classes < 10000 else (10, 2)
    for part, number in zip((fast, {k: actions[k] for k in slow}), rounds, strict=True):
        cold, warm = interleaved(part, number, twice=few)
        for name in part if part is fast else list(slow)[:SLOW]:
            row = {"B": size, "C": num_classes, "side": name}
            row |= {"median_us": round(1e6 * cold[name], 1), "calls": calls(actions[name])}
            row |= {"ratio": round(cold[name] / cold["cross-entropy"], 2)}
            if few:
                row["warm"] = round(warm[name] / warm["cross-entropy"], 2)
            if name in plain:
                row["peer"] = round(cold[name] / cold[f"{name}, plain"], 2)
            table["rows"].append(row)


@pytest.mark.parametrize(("size", "num_labels"), LABEL_SHAPES, ids=str)
def test_many_labels(table, size, num_labels):
    """The same of multi-label losses, as multiples of PyTorch's binary cross-entropy."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(size, num_labels, generator=draw, requires_grad=True)
    targets = (torch.rand(size, num_labels, generator=draw) < 0.1).float()
    timm = {"gamma_neg": 4, "gamma_pos": 1, "clip": 0.05}
    losses: dict[str, Loss] = {
        "BCE, PyTorch": F.binary_cross_entropy_with_logits,
        "BCE": BCELoss(),
        "focal, torchvision": lambda u, t: sigmoid_focal_loss(u, t, -1, 2, "mean"),
        "focal": MultilabelFocalLoss(),
        "ASL, timm": AsymmetricLossMultiLabel(**timm),
        "ASL": AsymmetricLoss(),
        "ASL, constant weights, timm": AsymmetricLossMultiLabel(
            **timm, disable_torch_grad_focal_loss=True
        ),
        "ASL, constant weights": AsymmetricLoss(constant_weights=True),
    }
    actions = {name: backward(loss, logits, targets) for name, loss in losses.items()}
    cold, warm = interleaved(actions, 100)
    base = "BCE, PyTorch"
    for name in actions:
        row = {"B": size, "K": num_labels, "side": name}
        row |= {"median_us": round(1e6 * cold[name], 1), "calls": calls(actions[name])}
        row |= {"ratio": round(cold[name] / cold[base], 2)}
        row |= {"warm": round(warm[name] / warm[base], 2)}
        table["labels"].append(row)


def steps(device: str = "cpu") -> dict[str, Callable[[], None]]:
    """One SGD step of ResNet-32, batch 128, with plain cross-entropy and with LA + LPL."""
    net = CifarResNet(num_classes=10, depth=32).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(128, 3, 32, 32, device=device)
    targets = torch.arange(128, device=device) % 10
    counts = range(10, 0, -1)
    both = PerturbedLoss(LogitAdjustment(counts) + LPL(counts)).to(device)

    def run(loss: Loss) -> Callable[[], None]:
        def action() -> None:
            optimiser.zero_grad()
            loss(net(images), targets).backward()
            optimiser.step()

        return action

    return {"plain": run(F.cross_entropy), "LA + LPL": run(both)}


def step_row(seconds: dict[str, float]) -> dict[str, float]:
    return {
        "plain_ms": round(1e3 * seconds["plain"], 1),
        "perturbed_ms": round(1e3 * seconds["LA + LPL"], 1),
        "ratio": round(seconds["LA + LPL"] / seconds["plain"], 3),
    }


def test_training_step(table):
    """A whole step, where the loss is a small part. The ratio is that of neighbours in
    time, since a machine is slower at one minute than at another."""
    actions, draw = steps(), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(101):
        for name in draw.sample([*actions], 2):
            began = time.thread_time()
            actions[name]()
            seconds[name].append(time.thread_time() - began)
    plain, both = (seconds[name][1:] for name in actions)  # the first makes what is kept
    ratio = statistics.median(b / a for a, b in zip(plain, both, strict=True))
    row = step_row({name: statistics.median(s) for name, s in seconds.items()})
    table["step"] = row | {"ratio": round(ratio, 3)}


def on_gpu(
    actions: dict[str, Callable[[], object]], rounds: int = 100
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each action between two events of the GPU's own clock, launched
    operator by operator, and replayed as a CUDA graph where it can be captured as one."""
    replays = {}
    for name, action in actions.items():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):  # a capture wants to have seen a few passes
            for _ in range(3):
                action()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                action()
        except RuntimeError:  # it asks the device for a value
            continue
        replays[name] = graph.replay
    return clocked(actions, rounds), clocked(replays, rounds)


def clocked(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in actions}
    order, draw = list(actions.items()), random.Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        for name, action in order:
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            began.record()
            action()
            ended.record()
            torch.cuda.synchronize()
            times[name].append(began.elapsed_time(ended) / 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def test_on_a_gpu(table):
    """The losses alone and the training step with CUDA, with and without CUDA graphs."""
    if not torch.cuda.is_available():
        table["cuda"] = "not measured: no GPU"
        pytest.skip(table["cuda"])
    rows = []
    for size, num_classes in SHAPES:
        logits = torch.randn(size, num_classes, device="cuda", requires_grad=True)
        targets = torch.randint(num_classes, (size,), device="cuda")
        losses = {"cross-entropy": F.cross_entropy} | sides(num_classes, "cuda")
        losses = dict(list(losses.items())[:-3])  # of the walks, dozens of steps: none
        losses |= {f"{k}, plain": f for k, f in peers(num_classes, "cuda").items()}
        actions = {name: backward(loss, logits, targets) for name, loss in losses.items()}
        for way, seconds in zip(("launched", "graph"), on_gpu(actions), strict=True):
            for name, value in seconds.items():
                row = {"B": size, "C": num_classes, "side": name, "way": way}
                row |= {"median_us": round(1e6 * value, 1)}
                row |= {"ratio": round(value / seconds["cross-entropy"], 2)}
                if f"{name}, plain" in seconds:
                    row["peer"] = round(value / seconds[f"{name}, plain"], 2)
                rows.append(row)
    step = step_row(clocked(steps("cuda"), rounds=100))
    table["cuda"] = {"device": torch.cuda.get_device_name(), "rows": rows, "step": step}
