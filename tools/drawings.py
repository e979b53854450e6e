"""Draw the pictures of book/_static that are made by code.

    python -m tools.drawings

- ``idea.svg``: the front page's picture of what the book is about;
- ``result.svg``: what came out, from the records;
- ``three-class-ball.svg``: what chapter 4 shows where its interactive figure cannot run;
- ``card.png``: what a link to the book shows on other sites (1200 by 630 pixels).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon
from matplotlib.patheffects import withStroke
from sklearn.datasets import load_digits
from torch import nn

from lpl_lib import L2, LInf
from lpl_lib.book import BLACK, BLUE, COLOUR_OF, GREEN, ORANGE, RED, SKY, use_book_style
from lpl_lib.lab.records import records
from lpl_lib.lab.tables import interval, table
from lpl_lib.lpl.solvers import Solver
from tools.bookfiles import ROOT

STATIC = ROOT / "book" / "_static"
BASIS = F.normalize(torch.tensor([[-2.0, 1.0, 1.0], [0.0, 1.0, -1.0]]), dim=1)
HEXAGON = torch.tensor(
    [[-1, 1, 1], [-1, 1, -1], [1, 1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]]
).float()
LOGITS = torch.tensor([[1.5, 1.0, 0.0]])  # where the interactive figure starts
EPSILON = 1.5
LABEL = 8  # of the image on the front page
HALF = 3.0  # the map shows perturbations up to this size


def landscape(axis: Axes, levels: int = 14) -> None:
    """The loss of one sample of class 0 over the perturbations that sum to zero."""
    line = torch.linspace(-HALF, HALF, 31)
    x, y = torch.meshgrid(line, line, indexing="xy")
    moved = LOGITS[0] + torch.stack([x, y], -1) @ BASIS
    loss = moved.logsumexp(-1) - moved[..., 0]
    axis.contourf(x, y, loss, levels=levels, cmap="cividis")
    axis.set(aspect="equal", xticks=[], yticks=[], xlim=(-HALF, HALF), ylim=(-HALF, HALF))


def extreme(solver: Solver, sign: int) -> torch.Tensor:
    """Where on the map the largest (sign 1) or smallest (-1) loss lies."""
    radius = torch.tensor([sign * EPSILON])
    delta: torch.Tensor = solver(LOGITS, torch.tensor([0]), radius, EPSILON)
    return BASIS @ delta[0]


def ball(path: Path) -> None:
    """Both balls of the same radius, with the largest and the smallest loss of each."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.7))
    sides: tuple[tuple[Solver, str], ...] = (
        (L2(steps=100), "Euclidean ball"),
        (LInf(), "ball of the maximum norm"),
    )
    outline = (EPSILON * HEXAGON @ BASIS.T).numpy()
    for axis, (solver, name) in zip(axes, sides, strict=True):
        landscape(axis)
        edge = Circle((0, 0), EPSILON) if isinstance(solver, L2) else Polygon(outline)
        edge.set(fill=False, edgecolor="white", linewidth=2)
        axis.add_patch(edge)
        for sign, marker, colour, word in ((1, "^", ORANGE, "max"), (-1, "v", BLUE, "min")):
            x, y = extreme(solver, sign).tolist()
            axis.scatter(x, y, marker=marker, color=colour, edgecolor=BLACK, s=90, zorder=3)
            side = "right" if sign > 0 else "left"  # inwards
            text = axis.text(x - 0.4 * sign, y, word, ha=side, va="center", color="white")
            text.set_path_effects([withStroke(linewidth=3, foreground=BLACK)])
        axis.set(title=name)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def small_network() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, features, logits, labels of the digits, under a small trained network."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32) / 16
    labels = torch.tensor(data.target)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
    head = nn.Linear(16, 10)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(head(body(images)), labels).backward()
        optimizer.step()
    with torch.no_grad():
        features = body(images)
        return images, features, head(features), labels


def idea(path: Path) -> None:
    """The three data of a sample, and the perturbation of its logits.

    Image, features, logits and the learned perturbation of the class are those of a
    small network trained on the digits.
    """
    images, features, logits, labels = small_network()
    mine = labels == LABEL
    radius = torch.full((int(mine.sum()),), 4.0)
    delta = L2(steps=50)(logits[mine], labels[mine], radius, 4.0)[0]
    sample = int(mine.nonzero()[0])

    figure = plt.figure(figsize=(5.2, 3.0), layout="none")
    boxes = ((0.01, 0.3, 0.24, 0.42), (0.34, 0.3, 0.12, 0.42), (0.54, 0.22, 0.29, 0.6))
    image, feature, bars = (figure.add_axes(box) for box in boxes)
    image.imshow(images[sample], cmap="gray_r")
    feature.imshow(features[sample].reshape(8, 2), cmap="cividis", aspect="auto")
    for axis in (image, feature):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    values = logits[sample] - logits[sample].mean()
    colours = [BLUE if k == LABEL else SKY for k in range(10)]
    bars.bar(range(10), values, color=colours, alpha=0.55)
    for k in range(10):
        tip, tail = (k, float(values[k] + delta[k])), (k, float(values[k]))
        if abs(tip[1] - tail[1]) > 0.25:
            arrow = {"arrowstyle": "-|>", "lw": 1.8, "color": RED, "mutation_scale": 10}
            arrow |= {"shrinkA": 0, "shrinkB": 0}
            bars.annotate("", tip, tail, arrowprops=arrow)
    bars.axhline(0, color=BLACK, lw=0.8)
    bars.set(xticks=range(10), yticks=[])
    bars.tick_params(axis="x", length=0, labelsize=11)
    bars.grid(False)
    bars.spines[:].set_visible(False)
    figure.text(0.93, 0.51, str(LABEL), size=34, ha="center", va="center")
    steps = (
        (0.13, "image", "crop, flip"),
        (0.4, "features", "ISDA"),
        (0.685, "logits", "$u + \\delta_y$"),
        (0.92, "label", "smooth"),
    )
    for x, name, how in steps:
        ours = name == "logits"
        figure.text(x, 0.9, name, ha="center", size=13, weight="bold")
        colour = RED if ours else BLACK
        figure.text(x, 0.06, how, ha="center", size=14 if ours else 12, color=colour)
    for x in (0.295, 0.505, 0.86):
        figure.text(x, 0.51, "→", size=20, ha="center", va="center")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def result(path: Path) -> None:
    """Balanced accuracy of the main methods, on digits and on CIFAR, from the records.

    Large dots are means, with their 95% intervals from three runs on; small ones are runs.
    """
    panels = []
    sets = ("digits-lt50", "Digits, 50:1"), ("cifar10-lt100", "CIFAR-10, 100:1")
    for name, title in sets:
        frame = table(records(name))
        scores = {m: frame.loc[frame["method"] == m, "all"].dropna() for m in COLOUR_OF}
        scores = {m: v for m, v in scores.items() if len(v) and m != "LDAM"}
        rows = sorted(scores.items(), key=lambda item: item[1].mean())
        panels.append((title, dict(rows)))
    ratios = [len(scores) + 1 for _, scores in panels]
    size = (5.2, 1.3 + 0.32 * sum(ratios))
    figure, axes = plt.subplots(2, 1, figsize=size, height_ratios=ratios)
    for axis, (title, scores) in zip(axes, panels, strict=True):
        for row, (method, values) in enumerate(scores.items()):
            colour = COLOUR_OF[method]
            mean, half = interval(values)
            axis.plot(values, [row] * len(values), ".", color=colour, ms=4, alpha=0.35)
            axis.errorbar(mean, row, xerr=half, fmt="o", color=colour, ms=7, capsize=4)
            place = axis.get_yaxis_transform()
            axis.text(1.02, row, f"{mean:.1f}", transform=place, va="center", color=colour)
        axis.set_yticks(range(len(scores)), list(scores))
        axis.set(ylim=(-0.6, len(scores) - 0.4))
        axis.set_title(title, loc="left", size=12.5, weight="bold")
        axis.tick_params(labelsize=12)
        axis.margins(x=0.06)
        axis.grid(axis="y", visible=False)
    axes[1].set_xlabel("balanced test accuracy, %", size=12)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def card(path: Path) -> None:
    """Title, idea and picture of the book for links on other sites."""
    figure = plt.figure(figsize=(12, 6.3), dpi=100, layout="none")
    figure.text(
        0.06, 0.74, "Class-Level\nLogit Perturbation", size=46, weight="bold", va="center"
    )
    figure.text(0.06, 0.49, "An executable book", size=28, color=BLUE)
    words = (
        "Add a small vector, one per class,\n"
        "to the logits. Every formula, figure\n"
        "and claim is a cell that runs."
    )
    figure.text(0.06, 0.23, words, size=21, va="center", linespacing=1.5)
    axis = figure.add_axes((0.62, 0.14, 0.34, 0.72))
    shift = (-0.9, 0.5, 0.4)
    for k, (logit, move, colour) in enumerate(
        zip((2.6, 1.7, 0.8), shift, (RED, GREEN, ORANGE), strict=True)
    ):
        axis.bar(k, logit, width=0.55, color=colour, alpha=0.35)
        axis.plot((k - 0.28, k + 0.28), (logit, logit), color=colour, lw=4)
        arrow = {"arrowstyle": "-|>", "lw": 4, "color": BLACK, "mutation_scale": 26}
        axis.annotate("", (k, logit + move), (k, logit), arrowprops=arrow)
        axis.text(k, -0.3, ("label", "rival", "rival")[k], ha="center", size=20)
    axis.set(xlim=(-0.6, 2.6), ylim=(-0.4, 3.1))
    axis.axis("off")
    axis.text(1.0, 2.75, r"$u + \delta_y$", size=34)
    figure.savefig(path, facecolor="white", pil_kwargs={"optimize": True})
    plt.close(figure)


def main() -> None:
    """Draw all of them."""
    mpl.use("agg")
    use_book_style()
    mpl.rcParams["svg.hashsalt"] = "lpl-book"
    idea(STATIC / "idea.svg")
    result(STATIC / "result.svg")
    ball(STATIC / "three-class-ball.svg")
    card(STATIC / "card.png")


if __name__ == "__main__":
    main()
