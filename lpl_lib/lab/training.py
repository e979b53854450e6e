"""The training loop: SGD over images held in memory, exactly resumable.

:func:`fit` is its plain front, :func:`predict` its partner. What an epoch draws at random
is a function of seed and epoch: with the same seed all methods see the same batches,
cut and mirrored alike, and a training goes on from any epoch's end as if it had not been
interrupted. Images stay on the training device; nothing in the loop waits for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor, nn

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.augment import crop_and_flip, draw
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.files import Checkpoint
from lpl_lib.lab.recipe import Recipe

Criterion = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[[Tensor, torch.Generator], Tensor]
"""Maps targets and a generator to an epoch's order, ``(N,)`` indices."""
Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images and labels of a batch to mixed images and soft targets ``(B, C)``."""


class Hook(Protocol):
    """Called in each step between the gradient and the step, such as a look-ahead."""

    def __call__(
        self, net: nn.Module, criterion: Criterion, batch: LabelledImages, lr: float
    ) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class DivergedError(RuntimeError):
    """The training loss is no longer a finite number."""


class PausedError(RuntimeError):
    """Time was up before the training was done; its checkpoint goes on from here."""


@dataclass
class Trained:
    """What a training leaves behind, besides the net itself.

    Attributes:
        loss: mean training loss of each epoch (with the perturbation, in nats).
        seconds: of training, over all its parts if it was resumed.
        start_epoch: the epoch at which this process took up the training.
    """

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    start_epoch: int = 0


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU.

    >>> best_device().type in ("cuda", "cpu")
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: nn.Module,
    criterion: Criterion,
    data: LabelledImages,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    seed: int = 0,
    progress: bool | None = None,
) -> list[float]:
    """Train ``model`` in place; return the mean training loss of each epoch.

    SGD with Nesterov momentum 0.9 and a one-cycle learning rate (Smith and Topin 2018). The
    batches' order comes from ``seed`` alone, so that methods can be compared on the
    same batches. The model decides the device.

    Args:
        model: maps images to logits.
        criterion: maps logits ``(B, C)`` and targets to a scalar loss. One that is a
            module goes to the model's device, and into training mode.
        data: the training set.
        epochs: passes over the data, >= 1.
        batch_size: images a step, >= 1. A last batch of a single image is left out,
            since batch normalisation has no variance there.
        lr: highest learning rate, > 0.
        weight_decay: of SGD, on all parameters.
        seed: of the batches' order.
        progress: show a progress bar; ``None``, the default, does so on a terminal.

    Raises:
        ValueError: an argument out of range; no image.
        DivergedError: the loss is not finite at an epoch's end.

    >>> from lpl_lib import PerturbedLoss
    >>> from lpl_lib.lab import SmallConvNet, digits
    >>> train, test = digits()
    >>> history = fit(SmallConvNet(10), PerturbedLoss(), train, epochs=2)
    >>> history[1] < history[0]
    True
    """
    recipe = Recipe(
        epochs=check_count(epochs, "epochs"),
        batch_size=check_count(batch_size, "batch_size"),
        lr=check_number(lr, "lr", strict=True),
        weight_decay=check_number(weight_decay, "weight_decay"),
    )
    return train(model, criterion, data, recipe, seed=seed, progress=progress).loss


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 1024) -> Tensor:
    """Return the logits ``(N, C)`` of ``images`` in evaluation mode, on the CPU.

    In float32: half precision can tie logits, and a tie goes to the smaller class.

    >>> predict(nn.Linear(4, 3), torch.zeros(5, 4), batch_size=2).shape
    torch.Size([5, 3])
    """
    device = next(model.parameters()).device
    model.eval()
    return torch.cat([model(part.to(device)).cpu() for part in images.split(batch_size)])


def train(
    net: nn.Module,
    criterion: Criterion,
    data: LabelledImages,
    recipe: Recipe,
    *,
    seed: int = 0,
    at_epoch: Sequence[Callable[[float], object]] = (),
    sampler: Sampler | None = None,
    mixer: Mixer | None = None,
    hook: Hook | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_every: float = 20.0,
    until: float | None = None,
    progress: bool | None = None,
    title: str = "",
) -> Trained:
    """Train ``net`` in place on its device and leave it in evaluation mode.

    Args:
        net: maps images to logits. Draw its weights under ``torch.manual_seed(seed)``.
        criterion: as for :func:`fit`.
        data: images as the net takes them, float32 or uint8, and targets.
        recipe: how.
        seed: of batches, augmentation and whatever is drawn in the net.
        at_epoch: all called before each epoch with the share of training done, in [0, 1).
        sampler: draws an epoch's order; default, each image once.
        mixer: mixes each batch; an odd last image of a batch is left out.
        hook: called before each step.
        checkpoint: where to keep the state after epochs; a training found there goes on,
            and ends with the same numbers as one that was not interrupted.
        checkpoint_every: seconds between two states that are kept; the last always is.
        until: pause at the end of the first epoch past this ``time.monotonic()``.
        progress: show a bar; ``None`` does so on a terminal.
        title: of the bar.

    Raises:
        ValueError: no image; another configuration's checkpoint.
        DivergedError: the loss is not finite at an epoch's end.
        PausedError: time is up; the state is kept, if there is a checkpoint.
    """
    from tqdm import tqdm  # here, not above: it is for terminals

    if len(data.targets) == 0:
        raise ValueError("data must hold at least one image, got none")
    device = next(net.parameters()).device
    data = LabelledImages(data.images.to(device), data.targets.to(device))
    if data.images.dtype == torch.uint8:  # pictures: the faster order of memory
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = criterion if isinstance(criterion, nn.Module) else nn.Module()
    module.to(device).train()
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    parts: dict[str, Any] = {"net": net, "criterion": module, "optimiser": optimiser}
    if hook is not None:
        parts["hook"] = hook
    trained = Trained()
    if checkpoint and (state := checkpoint.load()):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        trained = Trained(state["loss"], state["seconds"], len(state["loss"]))

    def step(images: Tensor, targets: Tensor, rate: float) -> Tensor:
        """Train on a batch; return its loss."""
        if mixer is not None:
            even = len(targets) // 2 * 2
            images, targets = mixer(images[:even], targets[:even])
        reduced = recipe.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            logits = net(images)
        loss = criterion(logits.float() if reduced else logits, targets)
        optimiser.zero_grad()
        loss.backward()
        if hook is not None:
            hook(net, criterion, LabelledImages(images, targets), rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        return loss.detach()

    # one generator for the orders of all epochs: those done are drawn again
    labels, generator = data.targets.cpu(), torch.Generator().manual_seed(seed)
    order = sampler or _each_once
    for _ in range(trained.start_epoch):
        order(labels, generator)
    saved = time.monotonic()
    shown = {"total": recipe.epochs, "initial": trained.start_epoch, "desc": title}
    disable = None if progress is None else not progress
    with _reproducible(device), tqdm(**shown, disable=disable) as bar:
        for epoch in range(trained.start_epoch, recipe.epochs):
            began = time.monotonic()
            for call in at_epoch:
                call(epoch / recipe.epochs)
            net.train()
            chosen = order(labels, generator)
            loss = _one_epoch(step, data, recipe, epoch, seed, chosen)
            trained.loss.append(loss)
            trained.seconds += time.monotonic() - began
            if not math.isfinite(loss):
                raise DivergedError(f"the training loss is {loss} after epoch {epoch + 1}")
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}")
            late = until is not None and time.monotonic() > until
            last = epoch + 1 == recipe.epochs
            due = late or last or time.monotonic() - saved >= checkpoint_every
            if checkpoint and due:
                state = {name: part.state_dict() for name, part in parts.items()}
                state |= {"loss": trained.loss, "seconds": trained.seconds}
                checkpoint.save(state)
                saved = time.monotonic()
            if late and not last:
                raise PausedError(f"{title or 'training'}: paused after epoch {epoch + 1}")
    net.eval()
    return trained


def _each_once(targets: Tensor, draw: torch.Generator) -> Tensor:
    return torch.randperm(len(targets), generator=draw)


def _one_epoch(
    step: Callable[[Tensor, Tensor, float], Tensor],
    data: LabelledImages,
    recipe: Recipe,
    epoch: int,
    seed: int,
    order: Tensor,
) -> float:
    """Train for one epoch; return its mean loss."""
    device = data.targets.device
    mixed = (seed * 1_000_003 + epoch) % 2**63
    torch.manual_seed(mixed)  # for what the net itself may draw
    np.random.seed(mixed % 2**32)  # timm's mixing draws from there
    batches = order.to(device).split(recipe.batch_size)
    if len(batches) > 1 and len(batches[-1]) == 1 < recipe.batch_size:
        batches = batches[:-1]
    if augmented := recipe.padding or recipe.flip:
        generator = torch.Generator().manual_seed(mixed)
        drawn = draw(len(data.targets), recipe.padding, recipe.flip, generator)
        draws = [part.to(device) for part in drawn]
    sums = torch.zeros(2, device=device)  # of losses, and images
    for number, chosen in enumerate(batches, epoch * len(batches)):
        rate = recipe.lr * recipe.rate_factor(number, len(batches))
        images = data.images[chosen]
        if augmented:
            own = [part[chosen] for part in draws]
            images = crop_and_flip(images, own, recipe.padding)
        loss = step(images, data.targets[chosen], rate)
        sums += torch.stack([loss * len(chosen), loss.new_tensor(len(chosen))]).float()
    return float(sums[0] / sums[1])


@contextlib.contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """The same bits at each run; the caller's random numbers are left as they were."""
    before = np.random.get_state()
    with deterministic(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            np.random.set_state(before)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Have torch choose algorithms that give the same bits at each run on one device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # it would cost a sixth of the time on a CPU, and show only a bug that reads such memory
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = filled
