"""Training at full size: any device, mixed precision, several GPUs, exact resume.

Built on Hugging Face Accelerate: one process or several (``accelerate launch``), CPU or
GPU. :func:`lpl_lib.fit` is the loop to read first; this one adds augmentation, schedules,
precision, processes and checkpoints, and keeps what matters for a comparison: with the
same seed, all methods see the same batches, cut and mirrored alike.

Images are bytes that stay on the training device. What an epoch draws at random is a
function of seed and epoch alone, so that a training can go on from any epoch's end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.utils.deterministic
from torch import Tensor
from tqdm import tqdm

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.augment import Draws, crop_and_flip, draw
from lpl_lib.lab.checkpoint import Checkpoint
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.methods import Method
from lpl_lib.lab.models import WithFeatures
from lpl_lib.lab.schedules import SCHEDULES, Schedule, rate_factor
from lpl_lib.lab.training import batches_of

Precision = Literal["no", "bf16", "fp16"]


class DivergedError(RuntimeError):
    """The training loss is no longer a finite number."""


class PausedError(RuntimeError):
    """Time was up before the training was done; its checkpoint goes on from here."""


@dataclass(frozen=True)
class Recipe:
    """How to train; the same for all methods of a comparison.

    Attributes:
        epochs: passes over the training data.
        batch_size: images a step, over all processes.
        lr: the largest learning rate.
        momentum: of SGD.
        nesterov: its momentum is Nesterov's.
        weight_decay: of SGD, on all parameters.
        schedule: of the learning rate; this and the three that follow as in
            :func:`lpl_lib.lab.schedules.rate_factor`.
        warmup_epochs: with a growing rate.
        milestones: epochs at which the rate falls.
        gamma: by which factor.
        padding: of the random crop; see :func:`lpl_lib.lab.augment.crop_and_flip`.
        flip: mirror each image or not, at random.
        precision: ``"no"`` (float32; on newer NVIDIA GPUs cuDNN convolves in TF32, as
            torch has it by default), ``"bf16"`` or ``"fp16"`` autocast. Logits reach the
            loss as float32.
        micro_batches: each batch goes through the net in this many parts whose gradients
            are added up (for memory); losses and batch statistics then see one part.
    """

    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 2e-4
    schedule: Schedule = "one-cycle"
    warmup_epochs: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    padding: int = 0
    flip: bool = False
    precision: Precision = "no"
    micro_batches: int = 1

    def __post_init__(self) -> None:
        check_count(self.epochs, "epochs")
        check_count(self.batch_size, "batch_size")
        check_count(self.micro_batches, "micro_batches")
        check_count(self.padding, "padding", minimum=0)
        check_count(self.warmup_epochs, "warmup_epochs", minimum=0)
        check_number(self.lr, "lr", strict=True)
        check_number(self.momentum, "momentum")
        check_number(self.weight_decay, "weight_decay")
        check_number(self.gamma, "gamma")
        for milestone in self.milestones:
            check_count(milestone, "milestones", minimum=0)
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, got {self.schedule!r}")
        if self.precision not in ("no", "bf16", "fp16"):
            raise ValueError(
                f"precision must be 'no', 'bf16' or 'fp16', got {self.precision!r}"
            )

    def over(self, epochs: int) -> Recipe:
        """Return the recipe over another number of epochs, its schedule in proportion.

        >>> ldam = Recipe(200, schedule="step", warmup_epochs=5, milestones=(160, 180))
        >>> short = ldam.over(40)
        >>> short.warmup_epochs, short.milestones
        (1, (32, 36))
        """
        share = epochs / self.epochs
        return dataclasses.replace(
            self,
            epochs=epochs,
            warmup_epochs=round(share * self.warmup_epochs),
            milestones=tuple(round(share * milestone) for milestone in self.milestones),
        )


@dataclass
class Trained:
    """What a training leaves behind, besides the net itself.

    Attributes:
        loss: mean training loss of each epoch (with the perturbation, in nats).
        class_accuracy: of each epoch, the share of each class's training images that
            were right as they passed by, on plain logits; ``(epochs, C)`` nested lists.
        seconds: of training, over all its parts if it was resumed.
        images: that went through the net in training.
        start_epoch: the epoch at which this process took up the training.
    """

    loss: list[float] = field(default_factory=list)
    class_accuracy: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    images: int = 0
    start_epoch: int = 0


def train(
    net: WithFeatures,
    method: Method,
    data: LabelledImages,
    recipe: Recipe,
    *,
    seed: int = 0,
    groups: dict[str, list[int]] | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_every: float = 20.0,
    until: float | None = None,
    cpu: bool = False,
    progress: bool | None = None,
    title: str = "",
) -> Trained:
    """Train ``net`` in place by SGD and leave it in evaluation mode on its device.

    Args:
        net: from :class:`lpl_lib.lab.models.WithFeatures`. Draw its weights under
            ``torch.manual_seed(seed)``.
        method: from :func:`lpl_lib.lab.methods.build_method`.
        data: images ``(N, channels, height, width)`` as uint8, and targets.
        recipe: how.
        seed: of batches, augmentation and whatever is drawn in the net.
        groups: class indices by name, whose training accuracy the progress bar shows.
        checkpoint: where to keep the state after epochs; a training found there goes on,
            and ends with the same numbers as one that was not interrupted.
        checkpoint_every: seconds between two states that are kept; the last always is.
        until: pause at the end of the first epoch past this ``time.monotonic()``.
        cpu: stay on the CPU although there is a GPU.
        progress: show a bar; ``None`` does so on a terminal.
        title: of the bar.

    Raises:
        ValueError: images that are not uint8, no image, a checkpoint of another
            configuration.
        DivergedError: the loss is not finite at an epoch's end.
        PausedError: time is up; the state is kept, if there is a checkpoint.
    """
    if data.images.dtype != torch.uint8 or len(data.targets) == 0:
        raise ValueError(
            f"data must hold at least one image, as uint8, got {len(data.targets)} of "
            f"{data.images.dtype}"
        )
    accelerator = fresh_accelerator(recipe.precision, cpu)
    run = _Run(net, method, data, recipe, seed, accelerator)
    state = checkpoint.load() if checkpoint else None
    if state is not None:
        run.restore(state)
    main = accelerator.is_main_process
    quiet = True if not main else (None if progress is None else not progress)
    gpus = [accelerator.device] if accelerator.device.type == "cuda" else []
    with deterministic(), run.unwrapped(), torch.random.fork_rng(gpus):
        bar = tqdm(
            total=recipe.epochs * len(run.batches),
            initial=run.epoch * len(run.batches),
            desc=title,
            disable=quiet,
        )
        saved = time.monotonic()
        with bar:
            while run.epoch < recipe.epochs:
                run.one_epoch(bar.update)
                bar.set_postfix_str(run.postfix(groups or {}))
                done = run.epoch == recipe.epochs
                late = until is not None and agreed(time.monotonic() > until)
                due = time.monotonic() - saved >= checkpoint_every
                if checkpoint and main and (done or late or due):
                    checkpoint.save(run.state())
                    saved = time.monotonic()
                if late and not done:
                    raise PausedError(
                        f"{title or 'training'}: paused after epoch {run.epoch}"
                    )
    net.eval()
    return run.trained


class _Run:
    """The state of one training, and its epochs."""

    def __init__(
        self,
        net: WithFeatures,
        method: Method,
        data: LabelledImages,
        recipe: Recipe,
        seed: int,
        accelerator: Any,
    ) -> None:
        self.accelerator, self.method, self.recipe, self.seed = (
            accelerator,
            method,
            recipe,
            seed,
        )
        device = accelerator.device
        self.data = LabelledImages(data.images.to(device), data.targets.to(device))
        self.batches = batches_of(len(data.targets), recipe.batch_size)
        self.criterion = method.criterion.to(device)
        self.net = net.to(device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = Normaliser(self.data.images)
        optimiser = torch.optim.SGD(
            net.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        self.model, self.optimiser = accelerator.prepare(net, optimiser)
        self.epoch = 0
        self.trained = Trained()

    @contextlib.contextmanager
    def unwrapped(self) -> Iterator[None]:
        """Take Accelerate's autocast off the net in the end: it is the caller's."""
        try:
            yield
        finally:
            net = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            # or the next Accelerator takes it for prepared, and leaves autocast off
            net.__dict__.pop("_is_accelerate_prepared", None)

    def one_epoch(self, tick: Callable[[], Any]) -> None:
        """Train for one epoch, and note its loss and accuracy."""
        recipe = self.recipe
        order, draws = self._draw()
        self.method.at_epoch(self.epoch / recipe.epochs)
        self.model.train()
        self.criterion.train()
        # nothing in the loop waits for the device
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        seen: list[Tensor] = []
        began = time.monotonic()
        for number, batch in enumerate(self.batches):
            self._set_rate(self.epoch * len(self.batches) + number)
            chosen = self._own(order[batch])
            if len(chosen) > 0:
                self._step(chosen, draws, losses, hits)
                seen.append(chosen)
            tick()
        self._note(losses, self.data.targets[torch.cat(seen)], torch.cat(hits))
        self.trained.seconds += time.monotonic() - began
        self.epoch += 1
        loss = self.trained.loss[-1]
        if not math.isfinite(loss):
            raise DivergedError(f"the training loss is {loss} after epoch {self.epoch}")

    def _note(self, losses: list[Tensor], targets: Tensor, hits: Tensor) -> None:
        """Note the mean loss of the epoch's images and the share of each class's that
        were right, over all processes."""
        num_classes = self.net.head.out_features
        right = torch.bincount(targets[hits], minlength=num_classes)
        counts = torch.stack([right, torch.bincount(targets, minlength=num_classes)])
        sums = [torch.stack(losses).sum(), *counts.float()]
        total, right, seen = (self.accelerator.reduce(part, "sum") for part in sums)
        self.trained.images += int(seen.sum())
        self.trained.loss.append(float(total / seen.sum()))
        self.trained.class_accuracy.append((right / seen.clamp(min=1)).tolist())

    def _draw(self) -> tuple[Tensor, Draws]:
        """All random numbers of this epoch: a function of the seed and the epoch."""
        mixed = (self.seed * 1_000_003 + self.epoch) % 2**63
        torch.manual_seed(mixed)  # for what the net itself may draw
        generator = torch.Generator().manual_seed(mixed)
        size, device = len(self.data.targets), self.accelerator.device
        order = torch.randperm(size, generator=generator)
        draws = draw(size, self.recipe.padding, self.recipe.flip, generator)
        return order.to(device), draws.to(device)

    def _own(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, equally long for all."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = len(batch) // world
        return batch[rank * size : (rank + 1) * size]

    def _step(
        self, chosen: Tensor, draws: Draws, losses: list[Tensor], hits: list[Tensor]
    ) -> None:
        """Train on a batch, and append its summed loss and which images are right."""
        parts = chosen.chunk(min(self.recipe.micro_batches, len(chosen)))
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            waits = contextlib.nullcontext() if last else self._no_sync()
            images, targets = self.data.images[part], self.data.targets[part]
            if self.recipe.padding or self.recipe.flip:
                images = crop_and_flip(images, draws.at(part), self.recipe.padding)
            with waits:
                logits, features = self.model(self.normalise(images))
                loss = self.criterion(logits, targets, features, self.net.head.weight)
                self.accelerator.backward(loss * (len(part) / len(chosen)))
            losses.append(loss.detach() * len(part))
            hits.append(logits.argmax(1) == targets)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def _no_sync(self) -> contextlib.AbstractContextManager[None]:
        return self.accelerator.no_sync(self.model)

    def _set_rate(self, step: int) -> None:
        recipe = self.recipe
        factor = rate_factor(
            recipe.schedule,
            step,
            len(self.batches),
            recipe.epochs,
            warmup_epochs=recipe.warmup_epochs,
            milestones=recipe.milestones,
            gamma=recipe.gamma,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.lr * factor

    def postfix(self, groups: dict[str, list[int]]) -> str:
        """Loss and training accuracy by group, for the progress bar."""
        latest = self.trained.class_accuracy[-1]
        shares = [
            f"{name} {100 * sum(latest[c] for c in members) / len(members):.0f}%"
            for name, members in {"all": range(len(latest)), **groups}.items()
            if members
        ]
        return f"loss {self.trained.loss[-1]:.3f}, train " + ", ".join(shares)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        scaler = self.accelerator.scaler
        return {
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "loss": self.trained.loss,
            "class_accuracy": self.trained.class_accuracy,
            "seconds": self.trained.seconds,
            "images": self.trained.images,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a training where :meth:`state` left it."""
        self.epoch = state["epoch"]
        self.net.load_state_dict(state["net"])
        self.criterion.load_state_dict(state["criterion"])
        self.optimiser.load_state_dict(state["optimiser"])
        if state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.trained = Trained(
            state["loss"],
            state["class_accuracy"],
            state["seconds"],
            state["images"],
            start_epoch=self.epoch,
        )


class Normaliser:
    """Maps bytes to floats of mean 0 and variance 1, by the statistics of a training set.

    Args:
        images: ``(N, channels, height, width)``, uint8. Mean and standard deviation of
            each channel are exact: they come from a count of its 256 levels.

    >>> levels = torch.tensor([[[[0, 2]]], [[[4, 6]]]], dtype=torch.uint8)
    >>> Normaliser(levels)(levels).flatten().round(decimals=3)
    tensor([-1.3420, -0.4470,  0.4470,  1.3420])
    """

    def __init__(self, images: Tensor) -> None:
        level = torch.arange(256, dtype=torch.float64)
        means, deviations = [], []
        for channel in images.unbind(1):
            share = torch.bincount(channel.flatten(), minlength=256).cpu().double()
            share /= share.sum()
            mean = (share * level).sum()
            variance = (share * (level - mean) ** 2).sum()
            means.append(mean)
            deviations.append(variance.sqrt() if variance > 0 else torch.ones(()))
        # float32 before they move: not every device has float64
        mean, deviation = torch.tensor(means), torch.tensor(deviations)
        self.mean = mean.float().view(1, -1, 1, 1).to(images.device)
        self.scale = 1 / deviation.float().view(1, -1, 1, 1).to(images.device)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 images of the same shape, on the device of the training set."""
        return images.float().sub_(self.mean).mul_(self.scale)


@torch.no_grad()
def predict_bytes(
    net: WithFeatures,
    images: Tensor,
    normalise: Normaliser,
    batch_size: int = 512,
) -> tuple[Tensor, Tensor]:
    """Return logits ``(N, C)`` and features ``(N, A)`` in evaluation mode, on the net's
    device.

    In float32 whatever the precision of training: half precision can tie the two largest
    logits of an image, and a tie goes to the class with the smaller index.

    Args:
        images: ``(N, channels, height, width)``, uint8, on any device.
        normalise: of the training set.
    """
    device = net.head.weight.device
    net.eval()
    outputs = []
    for part in images.split(batch_size):
        batch = normalise(part.to(device)).to(memory_format=torch.channels_last)
        outputs.append(net(batch))
    logits, features = zip(*outputs, strict=True)
    return torch.cat(logits), torch.cat(features)


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


def fresh_accelerator(precision: Precision, cpu: bool) -> Any:
    """Return an Accelerator for one training.

    Accelerate keeps precision and device for a whole process; here each training has its
    own. The device of one among several processes stays, since they are connected.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    held = PartialState._shared_state
    alone = bool(held) and held["num_processes"] == 1
    AcceleratorState._reset_state(reset_partial_state=alone)
    return Accelerator(cpu=cpu, mixed_precision=precision)


def agreed(decision: bool) -> bool:
    """Return the main process's decision, in all processes."""
    from accelerate.utils import broadcast_object_list

    return bool(broadcast_object_list([decision])[0])
