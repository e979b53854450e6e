"""Which settings are tried: a list for each question."""

from __future__ import annotations

from dataclasses import replace

from lpl_lib.ablations.settings import Setting

RATIOS = (100, 50, 10)
BOUNDS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
BASE = Setting(epsilon=2.0)  # in the middle of the bounds tried
BY_CONFIDENCE = Setting(epsilon=2.0, split="confidence")


def _bounds() -> list[Setting]:
    """Fixed and varied bounds, on three imbalance ratios."""
    return [
        setting
        for ratio in RATIOS
        for setting in (
            Setting(ratio),
            *(Setting(ratio, epsilon=b) for b in BOUNDS),
            *(Setting(ratio, extra=b) for b in BOUNDS),
        )
    ]


def _sides() -> list[Setting]:
    """A bound for the raised classes and another for the lowered ones."""
    values = (0.0, 1.0, 2.0, 4.0)
    return [
        Setting(epsilon=1.0, raised=raised, lowered=lowered)
        for raised in values
        for lowered in values
        if raised != lowered  # equal ones are among the bounds
    ]


def _splits() -> list[Setting]:
    """By rank at any place, the wrong way round, and by confidence."""
    by_rank = [replace(BASE, num_head=head) for head in range(0, 11, 2)]
    fixed = [replace(BY_CONFIDENCE, epsilon=b) for b in (1.0, 2.0, 4.0, 8.0)]
    varied = [Setting(extra=b, split="confidence") for b in (8.0, 16.0)]
    taus = [replace(BY_CONFIDENCE, threshold=tau) for tau in (0.5, 0.9)]
    running = replace(BY_CONFIDENCE, decay=0.9)
    one_side = [replace(BY_CONFIDENCE, raised=0.0), replace(BY_CONFIDENCE, lowered=0.0)]
    wrong = [replace(BASE, split="reversed")]
    return [*by_rank, *wrong, *fixed, *varied, *taus, running, *one_side]


def _solvers() -> list[Setting]:
    """Other solvers, each with bounds of its own, and a gradient through delta."""
    tried = {
        "linf": (1.0, 2.0),
        "pgd": (2.0,),
        "algorithm1": (4.0, 8.0, 16.0),
    }
    others = [
        Setting(epsilon=b, solver=solver)  # type: ignore[arg-type]
        for solver, values in tried.items()
        for b in values
    ]
    attached = [
        replace(BASE, attached=True),
        Setting(epsilon=4.0, attached=True, solver="algorithm1"),
    ]
    return [*others, *attached]


def _batch_sizes() -> list[Setting]:
    """Small and large batches, for plain training and both splits."""
    running = replace(BY_CONFIDENCE, decay=0.9)
    return [
        *(
            replace(setting, batch_size=size)
            for size in (16, 128)
            for setting in (Setting(), BASE, BY_CONFIDENCE)
        ),
        replace(running, batch_size=16),
    ]


def _adjusted() -> list[Setting]:
    """LA, and LPL with smaller bounds on top of it."""
    alone = [Setting(ratio, adjusted=True) for ratio in RATIOS]
    both = [
        Setting(ratio, extra=b, adjusted=True) for ratio in RATIOS for b in (0.5, 1.0, 2.0)
    ]
    return [*alone, *both]


def grid() -> list[Setting]:
    """Return all settings, each once.

    >>> settings = grid()
    >>> len(settings) == len(set(settings)), Setting() in settings
    (True, True)
    """
    lists = (_bounds, _sides, _splits, _solvers, _batch_sizes, _adjusted)
    return list(dict.fromkeys(setting for make in lists for setting in make()))
