"""A plain training loop: stochastic gradient descent over images held in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.data import LabelledImages
from lpl_lib.losses import PerturbedLoss


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU.

    >>> best_device().type in ("cuda", "cpu")
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: nn.Module,
    criterion: Callable[..., Tensor],
    data: LabelledImages,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    seed: int = 0,
    progress: bool | None = None,
) -> list[float]:
    """Train ``model`` in place; return the mean training loss of each epoch.

    SGD with Nesterov momentum and a one-cycle learning rate (Smith and Topin 2018). The
    batches' order comes from ``seed`` alone, so that methods can be compared on the
    same batches. The model decides the device; a criterion that is a module goes there,
    and into training mode.

    Args:
        model: maps images to logits. With a :class:`~lpl_lib.PerturbedLoss` it is split
            into ``features`` and ``head`` if it has them, as ISDA asks.
        criterion: maps logits ``(B, C)`` and targets ``(B,)`` to a scalar loss.
        data: the training set.
        epochs: passes over the data, >= 1.
        batch_size: images a step, >= 1. A last batch of a single image is left out,
            since batch normalisation has no variance there.
        lr: highest learning rate, > 0.
        momentum, weight_decay: of SGD.
        seed: of the batches' order.
        progress: show a progress bar; ``None``, the default, does so on a terminal.

    Raises:
        ValueError: an argument out of range; no image.

    >>> from lpl_lib import SmallConvNet, digits
    >>> train, test = digits()
    >>> history = fit(SmallConvNet(10), PerturbedLoss(), train, epochs=2)
    >>> history[1] < history[0]
    True
    """
    from tqdm import tqdm  # here, not above: the losses need torch alone

    check_count(epochs, "epochs")
    check_count(batch_size, "batch_size")
    check_number(lr, "lr", strict=True)
    if len(data.targets) == 0:
        raise ValueError("data must hold at least one image, got none")
    device = next(model.parameters()).device
    images, targets = data.images.to(device), data.targets.to(device)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=momentum > 0,
    )
    batches = batches_of(len(targets), batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=lr, total_steps=epochs * len(batches), cycle_momentum=False
    )
    order = torch.Generator().manual_seed(seed)
    history = []
    model.train()
    if isinstance(criterion, nn.Module):
        criterion.to(device).train()
    bar = tqdm(range(epochs), disable=None if progress is None else not progress)
    for _ in bar:
        shuffled = torch.randperm(len(targets), generator=order).to(device)
        total = torch.zeros((), device=device)
        for batch in batches:
            chosen = shuffled[batch]
            loss = _loss(model, criterion, images[chosen], targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        history.append(float(total) / len(batches))
        bar.set_postfix(loss=f"{history[-1]:.3f}")
    return history


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 1024) -> Tensor:
    """Return the logits ``(N, C)`` of ``images`` in evaluation mode, on the CPU.

    >>> predict(nn.Linear(4, 3), torch.zeros(5, 4), batch_size=2).shape
    torch.Size([5, 3])
    """
    device = next(model.parameters()).device
    model.eval()
    return torch.cat([model(part.to(device)).cpu() for part in images.split(batch_size)])


def batches_of(size: int, batch_size: int) -> list[slice]:
    """Return the batches of ``size`` images in order; a last one of a single image is
    left out, unless it is the only one.

    >>> batches_of(7, 3)
    [slice(0, 3, None), slice(3, 6, None)]
    """
    starts = range(0, size, batch_size)
    batches = [slice(start, min(start + batch_size, size)) for start in starts]
    if batch_size > 1 and len(batches) > 1 and batches[-1].stop - batches[-1].start == 1:
        batches.pop()
    return batches


def _loss(
    model: nn.Module, criterion: Callable[..., Tensor], images: Tensor, targets: Tensor
) -> Tensor:
    net: Any = model
    split = hasattr(net, "features") and hasattr(net, "head")
    if not (isinstance(criterion, PerturbedLoss) and split):
        return criterion(net(images), targets)
    features = net.features(images)
    return criterion(net.head(features), targets, features, net.head.weight)
