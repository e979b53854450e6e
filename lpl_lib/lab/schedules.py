"""The learning rate as a function of time: warm-up, steps, one cycle."""

from __future__ import annotations

import math

from lpl_lib.lab.recipe import Recipe


def rate_factor(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step as a multiple of the largest.

    A function of the step alone: a training that goes on where another stopped needs no
    state of a scheduler. In the first ``warmup_epochs`` the factor grows epoch by epoch,
    linearly from ``1 / warmup_epochs``, as in LDAM's code. The schedules are

    - ``"step"``: multiplied by ``gamma`` from each milestone on; constant without one;
    - ``"one-cycle"``: up from 1/25 during 30% of the steps and down to 4e-6, along cosines
      (Smith and Topin 2018, as torch's ``OneCycleLR`` has it); without warm-up.

    Args:
        recipe: says which, over how many epochs.
        step: counted from 0 over the whole training.
        steps_per_epoch: of the training.

    >>> ldam = Recipe(epochs=200, schedule="step", warmup_epochs=5, milestones=(160, 180),
    ...               gamma=0.01)
    >>> [rate_factor(ldam, epoch, 1) for epoch in (0, 5, 160, 180)]
    [0.2, 1.0, 0.01, 0.0001]
    """
    epoch, steps = step // steps_per_epoch, steps_per_epoch * recipe.epochs
    if recipe.schedule == "one-cycle":
        top = 0.3 * steps - 1
        if step <= top:
            return _along_cosine(1 / 25, 1.0, step / top)
        return _along_cosine(1.0, 1 / 25e4, (step - top) / (steps - 1 - top))
    if epoch < recipe.warmup_epochs:
        return (epoch + 1) / recipe.warmup_epochs
    return recipe.gamma ** sum(epoch >= milestone for milestone in recipe.milestones)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
