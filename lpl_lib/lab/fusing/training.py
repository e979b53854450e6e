"""Train with any fused method: the loop of chapter 8, with samplers and mixers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lpl_lib.isda import ISDA
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.fusing.methods import Method, inverse_frequency
from lpl_lib.lab.training import predict
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import log_prior

BATCH_SIZE, LR, MOMENTUM, WEIGHT_DECAY = 64, 0.1, 0.9, 5e-4
MIX_UP_ALPHA, CUT_MIX_ALPHA, CUT_MIX_SHARE = 0.2, 1.0, 0.5


class Run(NamedTuple):
    """A training run.

    Attributes:
        net: the trained network.
        losses: the training loss of each step.
        finite: whether every loss and every gradient was finite; the first that is not
            ends the run.
        shift: ``(C,)``, what is added to the logits at test time.
    """

    net: nn.Module
    losses: list[float]
    finite: bool
    shift: Tensor

    def logits(self, images: Tensor) -> Tensor:
        """Return test-time logits ``(N, C)``."""
        return predict(self.net, images) + self.shift


def train(
    net: nn.Module, method: Method, data: LabelledImages, *, steps: int, seed: int = 0
) -> Run:
    """Train a network in place by a (fused) method.

    SGD with Nesterov momentum and a one-cycle learning rate, batches of 64, as
    :func:`lpl_lib.fit` has them. Two methods that do not draw otherwise see the same
    batches for the same seed.

    Args:
        net: has ``features`` and a linear ``head``, as :class:`~lpl_lib.SmallConvNet`.
        method: one of ``lpl_lib.lab.fusing.METHODS``, or several fused.
        data: the training set; all classes have images.
        steps: number of batches, >= 1.
        seed: of the batches and of the mixing.
    """
    head: Any = net.head
    counts = data.class_counts(head.out_features)
    criterion = method.criterion(counts, head.in_features)
    optimiser = torch.optim.SGD(
        net.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=LR, total_steps=steps, cycle_momentum=False
    )
    draw = torch.Generator().manual_seed(seed)
    order = _order(data.targets, counts, steps, method.balanced, draw)
    losses, finite = [], True
    for step, chosen in enumerate(order):
        for part in criterion.modules():
            if isinstance(part, ISDA):
                part.strength = 0.5 * step / steps  # raised linearly, as its authors do
        loss = _loss(net, criterion, data.subset(chosen), method.mixers, draw)
        optimiser.zero_grad()
        loss.backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        losses.append(float(loss.detach()))
        finite = all(bool(part.isfinite().all()) for part in (loss.detach(), *gradients))
        if not finite:
            break  # nothing is learnt from here on
        optimiser.step()
        schedule.step()
    shift = -log_prior(counts).float() if method.post_hoc else torch.zeros(len(counts))
    return Run(net, losses, finite, shift)


def _order(
    targets: Tensor, counts: Tensor, steps: int, balanced: bool, draw: torch.Generator
) -> Iterator[Tensor]:
    """Yield the indices of each batch: epochs without replacement, or classes at par.
    A last batch of a single image is left out."""
    size, done = len(targets), 0
    while done < steps:
        if balanced:
            weights = inverse_frequency(counts)[targets]
            indices = torch.multinomial(weights, size, replacement=True, generator=draw)
        else:
            indices = torch.randperm(size, generator=draw)
        for batch in indices.split(BATCH_SIZE):
            if len(batch) > 1 and done < steps:
                done += 1
                yield batch


def _loss(
    net: Any,
    criterion: PerturbedLoss,
    batch: LabelledImages,
    mixers: tuple[str, ...],
    draw: torch.Generator,
) -> Tensor:
    """The loss of a batch; mixed, it is that of both labels, each with its own delta."""
    images, labels = batch

    def loss(features: Tensor, targets: Tensor) -> Tensor:
        return criterion(net.head(features), targets, features, net.head.weight)

    if not mixers:
        return loss(net.features(images), labels)
    turn = int(torch.randint(len(mixers), (), generator=draw))
    partner = torch.randperm(len(labels), generator=draw)
    mixed, share = MIXERS[mixers[turn]](images, images[partner], draw)
    features = net.features(mixed)
    first = loss(features, labels)
    return share * first + (1 - share) * loss(features, labels[partner])


def mix_up(images: Tensor, others: Tensor, draw: torch.Generator) -> tuple[Tensor, float]:
    """Return the mean of two batches of images, and the first one's weight.

    Source: Zhang et al. 2018, with the weight from Beta(0.2, 0.2).
    """
    share = _beta(MIX_UP_ALPHA, draw)
    return share * images + (1 - share) * others, share


def cut_mix(images: Tensor, others: Tensor, draw: torch.Generator) -> tuple[Tensor, float]:
    """Paste a rectangle of the others, in every second batch; return the share kept.

    Source: Yun et al. 2019, with the area from Beta(1, 1).
    """
    height, width = images.shape[-2:]
    side = (1 - _beta(CUT_MIX_ALPHA, draw)) ** 0.5
    if float(torch.rand((), generator=draw)) > CUT_MIX_SHARE:
        return images, 1.0
    top, left = (int(torch.randint(n, (), generator=draw)) for n in (height, width))
    half = (round(height * side / 2), round(width * side / 2))
    rows = slice(max(top - half[0], 0), min(top + half[0], height))
    columns = slice(max(left - half[1], 0), min(left + half[1], width))
    mixed = images.clone()
    mixed[..., rows, columns] = others[..., rows, columns]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - pasted / (height * width)


MIXERS = {"mix-up": mix_up, "CutMix": cut_mix}


def _beta(alpha: float, draw: torch.Generator) -> float:
    """A draw from Beta(alpha, alpha), by Jöhnk's method, from this generator."""
    while True:
        x, y = (float(torch.rand((), generator=draw)) ** (1 / alpha) for _ in range(2))
        if 0 < x + y <= 1:
            return x / (x + y)
