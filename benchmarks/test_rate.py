"""How many images a second a GPU trains on when several runs share it.

    make bench

Runs of CE and of LA + LPL on ResNet-32 in bf16, each in a process of its own, on bytes of
the size of CIFAR-10-LT 100:1. They begin together, after an epoch that is not counted, and
the rate is that of the slowest times their number. The outcome goes into
``results/rate_benchmark.json``.

Kernels of so small a net leave most of a large GPU idle. Processes share it at the same
time, and not in turns, under NVIDIA's MPS; where it is at hand, start it before::

    nvidia-cuda-mps-control -d
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from lpl_lib.lab import LabelledImages, best_device, long_tail_counts
from lpl_lib.lab.method import Facts
from lpl_lib.lab.methods import build_method
from lpl_lib.lab.models import Normalise, build_model
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import train

RESULTS = Path(__file__).parents[1] / "results" / "rate_benchmark.json"
AT_LEAST = 40_000  # images a second, over all runs
PROCESSES, EPOCHS = (1, 4, 8, 12), 6


def one_run(rank: int, name: str, precision: Any, together: Any, rates: Any) -> None:
    """One process: its images a second, once all have begun."""
    torch.set_num_threads(1)
    counts = torch.tensor(long_tail_counts(5000, 10, 100))
    targets = torch.arange(10).repeat_interleave(counts)
    generator = torch.Generator().manual_seed(rank)
    size = (len(targets), 3, 32, 32)
    images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
    data = LabelledImages(images, targets)
    torch.manual_seed(rank)
    net = torch.nn.Sequential(Normalise(images), build_model("resnet-32", 10))
    net.to(best_device())
    loss = build_method(name, Facts(counts)).criterion
    recipe = Recipe(epochs=1, lr=0.01, padding=4, flip=True, precision=precision)
    train(net, loss, data, recipe, seed=rank, progress=False)
    together.wait()
    measured = train(net, loss, data, recipe.over(EPOCHS), seed=rank, progress=False)
    rates[rank] = EPOCHS * len(targets) / measured.seconds


def rate(name: str, processes: int, precision: str) -> float:
    """Images a second of that many runs at once."""
    context = mp.get_context("spawn")
    together, rates = context.Barrier(processes), context.Array("d", processes)
    work = (name, precision, together, rates)
    mp.start_processes(one_run, work, nprocs=processes, start_method="spawn")
    return processes * min(rates)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rate() -> None:
    rates = {
        name: {count: round(rate(name, count, "bf16")) for count in PROCESSES}
        for name in ("cross-entropy", "LA + LPL")
    }
    about = {
        **{k: v for k, v in provenance("cuda").items() if k != "date"},
        "date": datetime.date.today().isoformat(),
        "processors": os.cpu_count(),
        "measure": f"images a second over all runs, by number of runs; {EPOCHS} epochs",
        "images_per_second": rates,
    }
    RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name, by_count in rates.items():
        best = max(by_count.values())
        assert best >= AT_LEAST, f"{name}: {best} images a second"
