"""The learning rate as a function of time: warm-up, steps, cosine, one cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["constant", "step", "cosine", "one-cycle"]
SCHEDULES: tuple[str, ...] = Schedule.__args__  # type: ignore[attr-defined]


def rate_factor(
    schedule: Schedule,
    step: int,
    steps_per_epoch: int,
    epochs: int,
    *,
    warmup_epochs: int = 0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    """Return the learning rate of a step as a multiple of the largest.

    A function of the step alone: a training that goes on where another stopped needs no
    state of a scheduler.

    Args:
        schedule: ``"constant"``; ``"step"``, multiplied by ``gamma`` from each
            milestone on; ``"cosine"``, from 1 to 0 (Loshchilov and Hutter 2017);
            ``"one-cycle"``, up from 1/25 during 30% of the steps and down to 4e-6, along
            cosines (Smith and Topin 2018, as torch's ``OneCycleLR`` has it).
        step: counted from 0 over the whole training.
        steps_per_epoch, epochs: length of the training.
        warmup_epochs: in the first epochs the factor grows epoch by epoch, linearly
            from ``1 / warmup_epochs``, as in LDAM's code.
        milestones: epochs, counted from 0.
        gamma: factor at each milestone.

    Raises:
        ValueError: an unknown schedule.

    >>> ldam = dict(warmup_epochs=5, milestones=[160, 180], gamma=0.01)
    >>> [rate_factor("step", epoch, 1, 200, **ldam) for epoch in (0, 5, 160, 180)]
    [0.2, 1.0, 0.01, 0.0001]
    """
    epoch = step // steps_per_epoch
    if schedule == "one-cycle":
        return _one_cycle(step, steps_per_epoch * epochs)
    if epoch < warmup_epochs:
        return (epoch + 1) / warmup_epochs
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return float(gamma ** sum(epoch >= milestone for milestone in milestones))
    if schedule == "cosine":
        begun = warmup_epochs * steps_per_epoch
        share = (step - begun) / max(steps_per_epoch * epochs - begun, 1)
        return (1 + math.cos(math.pi * share)) / 2
    raise ValueError(f"schedule must be one of {SCHEDULES}, got {schedule!r}")


def _one_cycle(step: int, steps: int) -> float:
    start, end = 1 / 25, 1 / 25e4
    top = 0.3 * steps - 1
    if step <= top:
        return _along_cosine(start, 1.0, step / top)
    return _along_cosine(1.0, end, (step - top) / (steps - 1 - top))


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
