"""VOC-MLT and COCO-MLT: the recipe of the distribution-balanced loss, with any method.

    python -m lpl_lib.multilabel.recipe voc --method DB-Focal --seed 0

needs the images in the folder that the environment variable ``LPL_DATA`` names
(:func:`~lpl_lib.multilabel.images.mlt_images` says where), and appends its outcome to
``results/mlt.jsonl``.

The protocol is that of Wu et al. 2020: a ResNet-50 from ImageNet, its first stage frozen;
a mean over the image; a layer of 256 features with batch normalisation and dropout; a
linear head. Class-aware sampling, 8 epochs of SGD (rate 0.02, a tenth after epochs 5 and
7, warm-up from a third over 500 steps, momentum 0.9, weight decay 1e-4, gradients
clipped at norm 35), batches of 32. Images are squashed to 224 x 224; in training, random
crops of at least 0.8 of the area, flips, and changes of brightness, contrast and colour.

No validation set comes with the two sets. Settings of the methods are the published
ones for each set (the first of their grid elsewhere); thresholds are not tuned; the last
epoch counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from lpl_lib.metrics import frequency_groups
from lpl_lib.multilabel.images import mlt_images
from lpl_lib.multilabel.methods import METHODS, Settings
from lpl_lib.multilabel.metrics import (
    average_precision,
    f1_scores,
    group_average_precision,
)
from lpl_lib.multilabel.sampling import ClassAwareSampler
from lpl_lib.provenance import provenance
from lpl_lib.records import Record, append, digest
from lpl_lib.training import best_device

RESULTS = Path("results/mlt.jsonl")
PUBLISHED: dict[str, Settings] = {
    "voc": {"kappa": 0.05, "scale": 5.0, "mu": 0.3},
    "coco": {"kappa": 0.05, "scale": 2.0, "mu": 0.2},
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """The numbers of the protocol; the defaults are the published ones.

    Attributes:
        backbone: name of a residual network of torchvision.
        weights: its weights, ``"DEFAULT"`` for ImageNet's or ``None`` for random ones.
        size: height and width of the images, in pixels.
        epochs: passes over what the class-aware sampler draws.
        batch_size: images a step.
        lr: learning rate of SGD.
        warm_up: steps over which the rate rises.
        workers: processes that read images.
    """

    backbone: str = "resnet50"
    weights: str | None = "DEFAULT"
    size: int = 224
    epochs: int = 8
    batch_size: int = 32
    lr: float = 0.02
    warm_up: int = 500
    workers: int = 8


class LabelNet(nn.Module):
    """A residual network of torchvision with the head of the protocol.

    Args:
        num_labels: ``K``.
        recipe: backbone and weights.

    The first stage (and what stands before it) is frozen.
    """

    def __init__(self, num_labels: int, recipe: Recipe) -> None:
        super().__init__()
        net = torchvision.models.get_model(recipe.backbone, weights=recipe.weights)
        self.frozen = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
        self.stages = nn.Sequential(net.layer2, net.layer3, net.layer4)
        self.neck = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(net.fc.in_features, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.head = nn.Linear(256, num_labels)
        self.frozen.requires_grad_(False)

    def train(self, mode: bool = True) -> LabelNet:
        super().train(mode)
        self.frozen.eval()  # its normalisation is frozen too
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of images ``(B, 3, H, W)``."""
        return self.head(self.neck(self.stages(self.frozen(images))))


def transforms(size: int, *, training: bool) -> Callable[[Any], Tensor]:
    """Return the transform of PIL images in training or at test time."""
    if training:
        steps: list[nn.Module] = [
            v2.ToImage(),
            v2.RandomPhotometricDistort(),
            v2.RandomResizedCrop(size, scale=(0.8, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
        ]
    else:
        steps = [v2.ToImage(), v2.Resize((size, size), antialias=True)]
    return v2.Compose(
        [*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )


def learning_rate(step: int, steps_per_epoch: int, warm_up: int = 500) -> float:
    """Return the factor of the learning rate at a step, counted from 0.

    >>> [round(learning_rate(s, 1000), 3) for s in (0, 250, 500, 5000, 7000)]
    [0.333, 0.667, 1.0, 0.1, 0.01]
    """
    ramp = min(1 / 3 + 2 / 3 * step / warm_up, 1.0) if warm_up else 1.0
    epoch = step // steps_per_epoch
    return ramp * (0.1 if epoch >= 5 else 1.0) * (0.1 if epoch >= 7 else 1.0)


def train(
    net: nn.Module,
    criterion: nn.Module,
    data: Dataset[Any],
    targets: Tensor,
    recipe: Recipe,
    seed: int,
) -> None:
    """Train in place, by the protocol, on the device of the net."""
    device = next(net.parameters()).device
    sampler = ClassAwareSampler(targets, seed=seed)
    batches = DataLoader(
        data, recipe.batch_size, sampler=sampler, num_workers=recipe.workers, drop_last=True
    )
    free = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(free, lr=recipe.lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate(step, max(len(batches), 1), recipe.warm_up)
    )
    criterion = criterion.to(device)
    net.train()
    for _ in range(recipe.epochs):
        for images, labels in batches:
            loss = criterion(net(images.to(device)), labels.to(device))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(free, 35)
            optimiser.step()
            schedule.step()


@torch.no_grad()
def logits_of(net: nn.Module, data: Dataset[Any], recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return logits and targets ``(N, K)`` of a set, on the CPU."""
    device = next(net.parameters()).device
    net.eval()
    batches = DataLoader(data, recipe.batch_size, num_workers=recipe.workers)
    pairs = [(net(images.to(device)).cpu(), labels) for images, labels in batches]
    logits, targets = zip(*pairs, strict=True)
    return torch.cat(logits), torch.cat(targets)


def run(
    train_set: Dataset[Any],
    test_set: Dataset[Any],
    targets: Tensor,
    method: str,
    settings: Settings,
    recipe: Recipe,
    seed: int,
) -> Record:
    """Train one net by one method and return what is to be recorded.

    Args:
        train_set, test_set: give images and targets ``(K,)``.
        targets: ``(N, K)``, of the training set.
        method: a name in ``METHODS``.
        settings: what the method leaves to choose.
        recipe: the protocol.
        seed: of the initial head, the sampling and the augmentation.
    """
    torch.manual_seed(seed)
    counts = targets.sum(0)
    criterion = METHODS[method].make(counts, len(targets), settings)
    net = LabelNet(len(counts), recipe).to(best_device())
    start = time.perf_counter()
    train(net, criterion, train_set, targets, recipe, seed)
    seconds = time.perf_counter() - start
    logits, truth = logits_of(net, test_set, recipe)
    groups = frequency_groups(counts, head_above=99)
    return {
        "method": method,
        "settings": settings,
        "seed": seed,
        "data": {
            "counts": counts.int().tolist(),
            "train": len(targets),
            "evaluated": len(cast(Sized, test_set)),
        },
        "training": vars(recipe),
        "metrics": {
            "mAP": group_average_precision(logits, truth, groups),
            "F1": f1_scores(logits, truth),
        },
        # JSON has no NaN: a label without a test image has no average precision
        "per_label_ap": [
            None if value != value else value
            for value in average_precision(logits, truth).tolist()
        ],
        **provenance(next(net.parameters()).device),
        "wall_seconds": round(seconds, 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the text of the module."""
    parser = argparse.ArgumentParser(
        prog="python -m lpl_lib.multilabel.recipe",
        description="Train on VOC-MLT or COCO-MLT by the recipe of the DB loss.",
    )
    parser.add_argument("name", choices=["voc", "coco"])
    parser.add_argument("--method", choices=list(METHODS), default="DB-Focal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    recipe = Recipe()
    settings = METHODS[options.method].grid[0] | PUBLISHED[options.name]
    train_set = mlt_images(options.name, "train", transforms(recipe.size, training=True))
    test_set = mlt_images(options.name, "test", transforms(recipe.size, training=False))
    record = run(
        train_set,
        test_set,
        train_set.targets,
        options.method,
        settings,
        recipe,
        options.seed,
    )
    record = {"experiment": f"{options.name}-mlt"} | record
    what = {name: record[name] for name in ("experiment", "method", "settings", "seed")}
    append(options.results, {"key": digest(what)} | record)
    print(options.method, options.seed, record["metrics"])


if __name__ == "__main__":
    main()
