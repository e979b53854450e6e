"""What chapter 6's figure of loss variation shows: numbers and a still drawing.

    python -m tools.loss_variation           book/_static/loss-variation-data.js and
                                             book/_static/loss-variation.svg
    python -m tools.loss_variation --train   train the net anew before

The net is the chapter's: digits-LT 50:1 of seed 0, cross-entropy. Its logits of the
images that were left out of the training set are kept, rounded, in
``loss_variation_logits.json``. The losses under LPL follow from them by the library
alone, for every class, lowered and raised, under both bounds and all radii of the slider.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from lpl_lib import LPL, FixedBound, FrequencyBound, PerturbedLoss, RankSplit
from lpl_lib.book import BLACK, BLUE, RED, use_book_style
from lpl_lib.lab import SmallConvNet, digits, fit, long_tail_indices, predict
from tools.bookfiles import ROOT

STATIC = ROOT / "book" / "_static"
LOGITS = Path(__file__).with_name("loss_variation_logits.json")
CLASSES = 10
STEP, STEPS = 0.1, 30  # radii 0, 0.1, ..., 3
BOUNDS = ("fixed", "varied")
START = 2.0  # radius of the still drawing, and where the sliders begin
HEAD = 4


def train() -> dict[str, Any]:
    """Train the chapter's net; its logits of the images that were left out."""
    pool, _ = digits(seed=0)
    chosen = long_tail_indices(pool.targets, imbalance_ratio=50, seed=0)
    images = pool.subset(chosen)
    torch.manual_seed(0)
    net = SmallConvNet(num_classes=CLASSES)
    fit(net, PerturbedLoss(), images, epochs=60, batch_size=32)
    unused = torch.ones(len(pool.targets), dtype=torch.bool)
    unused[chosen] = False
    held_out = pool.subset(unused)
    rows = predict(net, held_out.images).tolist()
    return {
        "counts": images.class_counts(CLASSES).tolist(),
        "targets": held_out.targets.tolist(),
        "logits": [[round(value, 3) for value in row] for row in rows],
    }


def sample() -> tuple[Tensor, Tensor, Tensor]:
    """The kept logits, their labels, and the training images per class."""
    kept = json.loads(LOGITS.read_text(encoding="utf-8"))
    logits = torch.tensor(kept["logits"], dtype=torch.float64)
    return logits, torch.tensor(kept["targets"]), torch.tensor(kept["counts"])


def class_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of each class, ``(C,)``."""
    losses = F.cross_entropy(logits, targets, reduction="none")
    return torch.stack([losses[targets == c].mean() for c in range(CLASSES)])


def perturbed_losses(bound: str, radius: float, num_head: int) -> Tensor:
    """Mean loss of each class under LPL that lowers the first `num_head` classes."""
    logits, targets, counts = sample()
    limits = FixedBound(radius) if bound == "fixed" else FrequencyBound(counts, 0.0, radius)
    lpl = LPL(CLASSES, limits, split=RankSplit(counts, num_head))
    return class_losses(logits + lpl(logits, targets), targets)


def curves(bound: str, num_head: int) -> list[list[float]]:
    """For each class its losses at all radii, to five digits."""
    radii = [round(STEP * k, 1) for k in range(STEPS + 1)]
    columns = torch.stack([perturbed_losses(bound, r, num_head) for r in radii])
    return [[float(f"{value:.5g}") for value in row] for row in columns.T.tolist()]


def write_data(path: Path) -> None:
    """All that the figure shows, as a script that sets one variable."""
    logits, targets, counts = sample()
    data = {
        "counts": counts.tolist(),
        "before": [float(f"{v:.5g}") for v in class_losses(logits, targets).tolist()],
        "step": STEP,
        "lowered": {bound: curves(bound, CLASSES) for bound in BOUNDS},
        "raised": {bound: curves(bound, 0) for bound in BOUNDS},
    }
    text = json.dumps(data, separators=(",", ":"))
    head = "// Written by python -m tools.loss_variation from the library; do not edit.\n"
    path.write_text(f"{head}window.bookLossVariation = {text};\n", encoding="utf-8")


def bars(axis: Axes, bound: str) -> None:
    """The factor by which each class's loss changes, on a logarithmic axis."""
    logits, targets, _ = sample()
    after = perturbed_losses(bound, START, HEAD)
    factor = (after / class_losses(logits, targets)).tolist()
    colours = [BLUE if value < 1 else RED for value in factor]
    axis.bar(range(CLASSES), [v - 1 for v in factor], bottom=1, color=colours)
    axis.axhline(1, color=BLACK, lw=1)
    axis.set_yscale("log", base=2)
    axis.set(xticks=range(CLASSES), ylim=(1 / 16, 16), yticks=[1 / 16, 1 / 4, 1, 4, 16])
    axis.set_yticklabels(["÷16", "÷4", "×1", "×4", "×16"])
    axis.grid(axis="x", visible=False)


def draw(path: Path) -> None:
    """Both bounds beside each other, as the sliders begin."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
    titles = (rf"every bound $\varepsilon = {START:g}$", rf"varied, up to {START:g}")
    for axis, bound, title in zip(axes, BOUNDS, titles, strict=True):
        bars(axis, bound)
        axis.set(title=title, xlabel="class, from frequent to rare")
    axes[0].set_ylabel("factor of the class's loss")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m tools.loss_variation")
    parser.add_argument("--train", action="store_true", help="train the net anew")
    if parser.parse_args(arguments).train:
        LOGITS.write_text(json.dumps(train(), separators=(",", ":")) + "\n")
    mpl.use("agg")
    use_book_style()
    mpl.rcParams["svg.hashsalt"] = "lpl-book"
    write_data(STATIC / "loss-variation-data.js")
    draw(STATIC / "loss-variation.svg")


if __name__ == "__main__":
    main()
