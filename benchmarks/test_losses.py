"""What LPL costs: loss alone and in a whole training step.

    make bench

All sides of a comparison run in turn within each round, so that they share whatever
else the machine does. The table goes into ``results/loss_benchmark.json``.
"""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cpuinfo
import pytest
import torch
import torch.nn.functional as F

import lpl_lib
from lpl_lib import LPL, FixedBound, PerturbedLoss
from lpl_lib.lab.models import CifarResNet
from lpl_lib.lab.released import Released
from lpl_lib.lpl import Algorithm1

RESULTS = Path(__file__).parents[1] / "results" / "loss_benchmark.json"
SHAPES = [(128, 10), (128, 100), (512, 100), (256, 1000), (256, 8142), (256, 16284)]


def sides(num_classes: int) -> dict[str, Callable[..., torch.Tensor]]:
    """Losses by name. Signs by rank and a fixed bound, but for the two last."""
    counts = range(num_classes, 0, -1)

    def lpl(solver: Any) -> PerturbedLoss:
        return PerturbedLoss(LPL(counts, FixedBound(0.4), solver=solver))

    return {
        "cross-entropy": F.cross_entropy,
        "linf": lpl("linf"),
        "l2": lpl("l2"),
        "pgd, 20 steps": lpl("pgd"),
        "algorithm1, 40 steps": lpl(Algorithm1(0.01)),
        "released, 40 steps": lpl(Released(0.01)),
        "linf, split by confidence": PerturbedLoss(LPL(num_classes, solver="linf")),
        "l2, split by confidence": PerturbedLoss(LPL(num_classes, solver="l2")),
    }


@pytest.fixture(scope="session")
def table() -> Iterator[dict[str, Any]]:
    """The record, written when all benchmarks have run."""
    record: dict[str, Any] = {"rows": []}
    yield record
    if record["rows"] and "step" in record:
        about = {
            "machine": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()),
            "threads": torch.get_num_threads(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "lpl_lib": lpl_lib.__version__,
            },
            "date": datetime.date.today().isoformat(),
            "measure": "forward and backward; medians over rounds, ratios by round",
        }
        text = json.dumps(about | record, indent=1)
        RESULTS.write_text(text + "\n", encoding="utf-8")


def interleaved(
    benchmark: Any, actions: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Median seconds of each action, and median over the rounds of its ratio to the first.

    Every round runs all actions in turn, every other round backwards.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    order = list(actions.items())

    def one_round() -> None:
        order.reverse()
        for name, action in order:
            began = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - began)

    one_round()  # warm-up
    for recorded in times.values():
        recorded.clear()
    benchmark.pedantic(one_round, rounds=rounds)
    plain = times[next(iter(actions))]
    return {
        name: (
            statistics.median(recorded),
            statistics.median(a / b for a, b in zip(recorded, plain, strict=True)),
        )
        for name, recorded in times.items()
    }


@pytest.mark.parametrize(("size", "num_classes"), SHAPES, ids=str)
def test_loss_alone(benchmark, table, size, num_classes):
    """Forward and backward of the loss, as multiples of plain cross-entropy."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(size, num_classes, generator=draw, requires_grad=True)
    targets = torch.randint(num_classes, (size,), generator=draw)

    def run(loss: Callable[..., torch.Tensor]) -> Callable[[], None]:
        def action() -> None:
            logits.grad = None
            loss(logits, targets).backward()

        return action

    actions = {name: run(loss) for name, loss in sides(num_classes).items()}
    rounds = max(10, min(300, 20_000_000 // (size * num_classes)))
    medians = interleaved(benchmark, actions, rounds)
    for name, (seconds, ratio) in medians.items():
        row = {"B": size, "C": num_classes, "side": name}
        row |= {"median_us": round(1e6 * seconds, 1), "ratio": round(ratio, 2)}
        table["rows"].append(row)
        benchmark.extra_info[name] = row["ratio"]


def test_training_step(benchmark, table):
    """One SGD step of ResNet-32, batch 128, with plain cross-entropy and with LPL."""
    net = CifarResNet(num_classes=10, depth=32)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images, targets = torch.randn(128, 3, 32, 32), torch.arange(128) % 10

    def run(loss: Callable[..., torch.Tensor]) -> Callable[[], None]:
        def action() -> None:
            optimiser.zero_grad()
            loss(net(images), targets).backward()
            optimiser.step()

        return action

    lpl = PerturbedLoss(LPL(10, solver="l2"))
    actions = {"plain": run(F.cross_entropy), "l2": run(lpl)}
    medians = interleaved(benchmark, actions, rounds=24)
    table["step"] = {
        "plain_ms": round(1e3 * medians["plain"][0], 1),
        "l2_ms": round(1e3 * medians["l2"][0], 1),
        "ratio": round(medians["l2"][1], 3),
    }
