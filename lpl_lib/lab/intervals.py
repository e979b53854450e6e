"""Means over seeds with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its confidence interval, ``mean - half`` to ``mean + half``."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.half:.1f}"


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the mean of independent runs and its confidence interval (Student's t).

    Raises:
        ValueError: fewer than two values, whose spread is unknown; a level outside (0, 1).

    >>> print(mean_interval([70.0, 72.0, 71.0]))
    71.0 ± 2.5
    """
    if len(values) < 2:
        raise ValueError(f"values must hold at least two runs, got {len(values)}")
    from scipy import stats  # here, not above: it is slow to import

    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    runs = np.asarray(values, dtype=float)
    half = stats.t.ppf((1 + level) / 2, len(runs) - 1) * stats.sem(runs)
    return Interval(float(runs.mean()), float(half))
