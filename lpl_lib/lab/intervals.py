"""Means over seeds, and leads of one method over another, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


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


def paired_lead(
    decisions: Tensor, over: Tensor, targets: Tensor, groups: Tensor, *, tests: int = 1
) -> Interval:
    r"""Return by how many points one method is ahead of another in the mean of classes,
    with the half width of the 95 % interval.

    .. math:: \tfrac1C \sum_c \bar d_c \;\pm\; \sqrt{(t\, s / \sqrt S)^2 +
              \tfrac{z^2}{C^2} \textstyle\sum_c v_c / n_c}

    :math:`\bar d_c` is by how much a larger share of class ``c`` is right, :math:`s` the
    spread over seeds. The second term is the chance in the test images: :math:`v_c` is the
    variance of what an image of class ``c`` adds, with half an image more that is won and
    half an image more that is lost, as in Agresti and Min (2005), so that two images which
    agree are no certainty. What other *training* images would do is not in it.

    Args:
        decisions, over: the classes that the two decide for, ``(S, N)``, int64.
        targets: ``(N,)``, int64.
        groups: ``(N,)``, int64; images of a group count as one.
        tests: how many leads are looked at together (Bonferroni's correction).

    >>> same = torch.tensor([[0, 0, 1, 1]] * 2)
    >>> print(paired_lead(same, same, same[0], torch.arange(4)))
    0.0 ± 49.0
    """
    gain = (decisions == targets).double() - (over == targets).double()
    level, present, variance = 1 - 0.05 / tests, targets.unique(), 0.0
    by_seed = torch.stack([gain[:, targets == c].mean(1) for c in present]).mean(0)
    for c in present:
        _, group = groups[targets == c].unique(return_inverse=True)
        size = group.bincount()
        total = gain.new_zeros(len(size)).index_add(0, group, gain[:, targets == c].mean(0))
        d, n = total / size, len(size)
        v = (d.square().sum() + 1) / (n + 2) - (d.sum() / (n + 2)) ** 2
        variance += float(v) / n
    images = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(variance) / len(present)
    half = math.hypot(images, mean_interval(by_seed.tolist(), level).half)
    return Interval(100 * float(by_seed.mean()), 100 * half)
