"""How fast augmented images arrive: torchvision's DataLoader path against the engine's.

    make bench

Both cut, mirror and normalise images of 32 x 32 pixels and hand them over on the training
device, in batches of 128. They take turns, so that they share whatever else the machine
does. The outcome goes into ``results/pipeline_benchmark.json``.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset

from lpl_lib.lab import best_device
from lpl_lib.lab.augment import crop_and_flip, draw
from lpl_lib.lab.models import Normalise
from lpl_lib.lab.provenance import provenance

RESULTS = Path(__file__).parents[1] / "results" / "pipeline_benchmark.json"
IMAGES, BATCH, ROUNDS = 20_000, 128, 5


class Pictures(VisionDataset):
    """Images as torchvision's CIFAR holds and gives them."""

    def __init__(self, pixels: np.ndarray, transform: Callable[..., Tensor]) -> None:
        super().__init__("", transform=transform)
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), index % 10


def loader_epoch(loader: DataLoader, device: torch.device) -> Iterator[Tensor]:
    """Batches of torchvision's path, on the device."""
    for images, _ in loader:
        yield images.to(device, non_blocking=True)


def resident_epoch(images: Tensor, normalise: Normalise) -> Iterator[Tensor]:
    """Batches of the engine's path."""
    device = images.device
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator).to(device)
    draws = [part.to(device) for part in draw(len(images), 4, True, generator)]
    for chosen in order.split(BATCH):
        yield normalise(crop_and_flip(images[chosen], [part[chosen] for part in draws], 4))


def rate(batches: Iterator[Tensor], device: torch.device) -> float:
    """Images a second."""
    began, seen = time.perf_counter(), 0
    for batch in batches:
        seen += len(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return seen / (time.perf_counter() - began)


def test_pipeline() -> None:
    """One file, one run: workers as many as there are processors, up to 8, or none."""
    device = best_device()
    pixels = np.random.RandomState(0).randint(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    steps = [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.25,) * 3),
    ]
    data = Pictures(pixels, transforms.Compose(steps))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)
    normalise = Normalise(images).to(device)
    workers = min(os.cpu_count() or 1, 8)
    loaders = {
        f"DataLoader, {count} workers": DataLoader(
            data,
            BATCH,
            shuffle=True,
            num_workers=count,
            persistent_workers=count > 0,
            pin_memory=device.type == "cuda",
        )
        for count in (0, workers)
    }
    rates: dict[str, list[float]] = {name: [] for name in ["resident", *loaders]}
    for number in range(ROUNDS + 1):  # the first starts workers and is not counted
        measured = {"resident": rate(resident_epoch(images, normalise), device)}
        for name, loader in loaders.items():
            measured[name] = rate(loader_epoch(loader, device), device)
        if number:
            for name, value in measured.items():
                rates[name].append(value)
    best = max(loaders, key=lambda name: statistics.median(rates[name]))
    ratios = [a / b for a, b in zip(rates["resident"], rates[best], strict=True)]
    about = {
        **{k: v for k, v in provenance(device).items() if k != "date"},
        "date": datetime.date.today().isoformat(),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "torchvision": torchvision.__version__,
        "measure": f"images a second, medians of {ROUNDS} rounds of {IMAGES} images",
        "images_per_second": {k: round(statistics.median(v)) for k, v in rates.items()},
        "resident_over_best_loader": round(statistics.median(ratios), 1),
    }
    RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    assert statistics.median(ratios) >= (5 if device.type == "cuda" else 1)
