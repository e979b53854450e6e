"""How to train: the same for all methods of a comparison."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# limits beyond which a number is a slip that would take for ever, or all memory
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Whole = Annotated[int, Meta(ge=0, le=2**32 - 1)]  # the largest seed that NumPy takes
Number = Annotated[float, Meta(ge=0, le=1e9)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a specification: what it does not know is refused."""


class Recipe(Section, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        epochs: passes over the training data.
        batch_size: images a step, over all processes.
        lr: the largest learning rate.
        momentum: of SGD.
        nesterov: its momentum is Nesterov's.
        weight_decay: of SGD, on all parameters.
        schedule: of the learning rate; this and the three that follow as in
            :meth:`rate_factor`.
        warmup_epochs: with a growing rate.
        milestones: epochs at which the rate falls.
        gamma: by which factor.
        padding: of the random crop; see :func:`lpl_lib.lab.augment.crop_and_flip`.
        flip: mirror each image or not, at random.
        precision: ``"no"`` (float32; on newer NVIDIA GPUs cuDNN convolves in TF32, as
            torch has it by default) or ``"bf16"`` autocast. Logits reach the loss as
            float32.
    """

    epochs: Count
    batch_size: Count = 64
    lr: Annotated[float, Meta(gt=0, le=1e9)] = 0.1
    momentum: Number = 0.9
    nesterov: bool = True
    weight_decay: Number = 5e-4
    schedule: Literal["step", "one-cycle"] = "one-cycle"
    warmup_epochs: Whole = 0
    milestones: tuple[Whole, ...] = ()
    gamma: Number = 0.1
    padding: Annotated[int, Meta(ge=0, le=4096)] = 0
    flip: bool = False
    precision: Literal["no", "bf16"] = "no"

    def over(self, epochs: int) -> Recipe:
        """Return the recipe over another number of epochs, its schedule in proportion.

        >>> ldam = Recipe(epochs=200, warmup_epochs=5, milestones=(160, 180))
        >>> short = ldam.over(40)
        >>> short.warmup_epochs, short.milestones
        (1, (32, 36))
        """
        share = epochs / self.epochs
        return msgspec.structs.replace(
            self,
            epochs=epochs,
            warmup_epochs=round(share * self.warmup_epochs),
            milestones=tuple(round(share * milestone) for milestone in self.milestones),
        )

    def rate_factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step as a multiple of the largest.

        A function of the step alone: a training that goes on where another stopped needs
        no state of a scheduler. In the first ``warmup_epochs`` the factor grows epoch by
        epoch, linearly from ``1 / warmup_epochs``, as in LDAM's code. The schedules are

        - ``"step"``: multiplied by ``gamma`` from each milestone on; constant without one;
        - ``"one-cycle"``: up from 1/25 during 30% of the steps and down to 4e-6, along
          cosines (Smith and Topin 2018, as torch's ``OneCycleLR`` has it); without warm-up.

        Args:
            step: counted from 0 over the whole training.
            steps_per_epoch: of the training.

        >>> ldam = Recipe(epochs=200, schedule="step", warmup_epochs=5,
        ...               milestones=(160, 180), gamma=0.01)
        >>> [ldam.rate_factor(epoch, 1) for epoch in (0, 5, 160, 180)]
        [0.2, 1.0, 0.01, 0.0001]
        """
        epoch, steps = step // steps_per_epoch, steps_per_epoch * self.epochs
        if self.schedule == "one-cycle":
            top = 0.3 * steps - 1
            if step <= top:
                return _along_cosine(1 / 25, 1.0, step / top)
            return _along_cosine(1.0, 1 / 25e4, (step - top) / (steps - 1 - top))
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
