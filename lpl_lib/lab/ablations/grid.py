"""Which settings are tried: a list for each question."""

from __future__ import annotations

from dataclasses import replace

from lpl_lib.lab.ablations.settings import Setting

RATIOS = (100, 50, 10)
BOUNDS = (1.0, 2.0, 3.0, 4.0, 8.0)
RAISED, LOWERED = (0.0, 2.0, 4.0), (0.0, 1.0, 2.0, 4.0)
BASE = Setting(epsilon=2.0)  # in the middle of the bounds tried
BY_CONFIDENCE = Setting(epsilon=2.0, split="confidence")


def _bounds() -> list[Setting]:
    """Varied bounds on three imbalance ratios, and fixed ones on the first."""
    varied = [Setting(ratio, extra=bound) for ratio in RATIOS for bound in (0.0, *BOUNDS)]
    return [*varied, *(Setting(epsilon=bound) for bound in BOUNDS)]


def _sides() -> list[Setting]:
    """A bound for the raised classes and another for the lowered ones."""
    return [
        Setting(epsilon=1.0, raised=raised, lowered=lowered)
        for raised in RAISED
        for lowered in LOWERED
        if raised != lowered  # equal ones are among the bounds
    ]


def _splits() -> list[Setting]:
    """By rank at several places, the wrong way round, and by confidence."""
    return [
        *(replace(BASE, num_head=head) for head in (0, 2, 6, 10)),
        replace(BASE, split="reversed"),
        BY_CONFIDENCE,
        replace(BY_CONFIDENCE, epsilon=4.0),
        replace(BY_CONFIDENCE, threshold=0.5),
        replace(BY_CONFIDENCE, decay=0.9),
        replace(BY_CONFIDENCE, lowered=0.0),
        replace(BY_CONFIDENCE, raised=0.0),
    ]


def _solvers() -> list[Setting]:
    """Other solvers, and a gradient through delta."""
    algorithm1 = Setting(epsilon=4.0, solver="algorithm1")
    return [
        Setting(epsilon=2.0, solver="linf"),
        replace(BASE, solver="pgd"),
        replace(BASE, attached=True),
        algorithm1,
        replace(algorithm1, attached=True),
    ]


def _batch_sizes() -> list[Setting]:
    """Small and large batches, with and without LPL."""
    return [
        replace(setting, batch_size=size)
        for size in (16, 128)
        for setting in (Setting(), BASE)
    ]


def _adjusted() -> list[Setting]:
    """LA, and LPL with a smaller bound on top of it."""
    return [
        Setting(ratio, extra=bound, adjusted=True)
        for ratio in RATIOS
        for bound in (0.0, 1.0)
    ]


def grid() -> list[Setting]:
    """Return all settings, each once.

    >>> settings = grid()
    >>> len(settings) == len(set(settings)), Setting() in settings
    (True, True)
    """
    lists = (_bounds, _sides, _splits, _solvers, _batch_sizes, _adjusted)
    return list(dict.fromkeys(setting for make in lists for setting in make()))
