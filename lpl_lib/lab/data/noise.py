r"""Symmetric label noise: how labels are flipped, and what it leaves of a prior.

With probability ``rate`` a label is replaced by one of the other ``C - 1``, all equally
likely. Posteriors and priors of the noisy labels are then affine in the clean ones,

.. math:: \tilde p_y = a\,p_y + b, \quad \tilde\pi_y = a\,\pi_y + b, \qquad
          b = \frac{\text{rate}}{C - 1}, \quad a = 1 - \text{rate} - b .
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_count


def flip_labels(targets: Tensor, num_classes: int, rate: float, seed: int = 0) -> Tensor:
    """Return the labels with symmetric noise, ``(N,)`` int64; a copy.

    The random numbers are the same at every rate: who is flipped at one rate is flipped
    at every higher one, to the same label.

    Args:
        targets: ``(N,)``, integer, in ``[0, C)``.
        num_classes: ``C`` >= 2.
        rate: probability that a label is replaced by another, in [0, 1).
        seed: of the flips.

    Raises:
        ValueError: ``rate`` or ``num_classes`` out of range.

    >>> flip_labels(torch.zeros(8, dtype=torch.int64), num_classes=3, rate=0.5)
    tensor([2, 0, 2, 1, 1, 0, 1, 0])
    """
    check_count(num_classes, "num_classes", minimum=2)
    _check_rate(rate)
    draw = torch.Generator().manual_seed(seed)
    flipped = torch.rand(len(targets), generator=draw) < rate
    away = torch.randint(1, num_classes, (len(targets),), generator=draw)
    clean = targets.long().cpu()
    return torch.where(flipped, (clean + away) % num_classes, clean).to(targets.device)


def signal_share(class_counts: ClassCounts, rate: float) -> Tensor:
    r"""Return how much of a class's balanced score is left under symmetric noise, ``(C,)``.

    Logit adjustment and its kin rank the classes by the balanced score
    :math:`p_y / \pi_y`. Learned from noisy labels, with the noisy prior, that becomes

    .. math:: \frac{\tilde p_y}{\tilde\pi_y}
              = \lambda_y \frac{p_y}{\pi_y} + (1 - \lambda_y), \qquad
              \lambda_y = \frac{a \pi_y}{a \pi_y + b} .

    Args:
        class_counts: *clean* training images per class, ``(C,)``, all positive, C >= 2.
        rate: of the noise, in [0, (C - 1) / C), where ``a`` is positive.

    Returns:
        :math:`\lambda`, float64; 1 without noise.

    Raises:
        ValueError: ``rate`` out of range; fewer than two classes.

    >>> signal_share([90, 10], rate=0.2)
    tensor([0.7297, 0.2308], dtype=torch.float64)
    """
    counts = check_class_counts(class_counts).double()
    classes = check_count(len(counts), "number of classes", minimum=2)
    _check_rate(rate, (classes - 1) / classes)
    b = rate / (classes - 1)
    signal = (1 - rate - b) * counts / counts.sum()
    return signal / (signal + b)


def _check_rate(rate: float, below: float = 1.0) -> None:
    if not 0 <= rate < below:
        raise ValueError(f"rate must lie in [0, {below:g}), got {rate}")
