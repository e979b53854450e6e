"""How to train: the same for all methods of a comparison."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# limits beyond which a number is a slip that would take for ever, or all memory
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Whole = Annotated[int, Meta(ge=0, le=2**32 - 1)]  # the largest seed that NumPy takes
Number = Annotated[float, Meta(ge=0, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Schedule = Literal["step", "one-cycle"]
Precision = Literal["no", "bf16"]


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
            :func:`lpl_lib.lab.schedules.rate_factor`.
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
    lr: Positive = 0.1
    momentum: Number = 0.9
    nesterov: bool = True
    weight_decay: Number = 5e-4
    schedule: Schedule = "one-cycle"
    warmup_epochs: Whole = 0
    milestones: tuple[Whole, ...] = ()
    gamma: Number = 0.1
    padding: Annotated[int, Meta(ge=0, le=4096)] = 0
    flip: bool = False
    precision: Precision = "no"

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
