"""Scores under another prior than that of the test set, and calibrated probabilities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_batch, check_count, check_number
from lpl_lib.metrics import class_accuracy

LOWEST, HIGHEST = 0.01, 100.0  # of temperatures that are tried


def long_tail_prior(num_classes: int, ratio: float) -> Tensor:
    r"""Return a prior that falls geometrically, :math:`\pi_c \propto
    \text{ratio}^{-c / (C - 1)}`, ``(C,)``, float64.

    Args:
        num_classes: ``C`` >= 2.
        ratio: first class over last, > 0; 1 is uniform, below 1 the tail comes first
            (*backward*).

    Raises:
        ValueError: an argument out of range.

    >>> long_tail_prior(3, 4.0)
    tensor([0.5714, 0.2857, 0.1429], dtype=torch.float64)
    """
    check_count(num_classes, "num_classes", minimum=2)
    check_number(ratio, "ratio", strict=True)
    steps = torch.arange(num_classes, dtype=torch.float64) / (num_classes - 1)
    return (-math.log(ratio) * steps).softmax(0)


def accuracy_under(logits: Tensor, targets: Tensor, prior: Tensor) -> float:
    r"""Return the accuracy if the classes came with another prior, in [0, 1].

    .. math:: \sum_c \pi^{\text{test}}_c \cdot \text{accuracy}_c

    All test images count, by weight: no images are left out to make a long tail, so there
    is no noise of a second draw. It supposes that only the prior shifts, not the images
    of each class (*label shift*).

    Args:
        logits: ``(N, C)``.
        targets: ``(N,)``, integer; every class with a prior above 0 is present.
        prior: ``(C,)``, sums to 1.

    Raises:
        ValueError: a prior that does not sum to 1, or of another number of classes.

    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    >>> round(accuracy_under(logits, torch.tensor([0, 1]), torch.tensor([0.9, 0.1])), 3)
    0.9
    """
    if prior.shape != logits.shape[1:] or abs(float(prior.sum()) - 1) > 1e-4:
        raise ValueError(
            f"prior must have shape ({logits.shape[1]},) and sum to 1, "
            f"got shape {tuple(prior.shape)}, sum {float(prior.sum()):g}"
        )
    accuracy = class_accuracy(logits, targets).double()
    return float((prior * accuracy)[prior > 0].sum())


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    r"""Return the temperature ``T`` at which the logits ``u / T`` fit held-out labels best.

    .. math:: \min_{T} \; \frac1N \sum_i -\log \mathrm{softmax}(u_i / T)_{y_i}

    The loss is convex in ``1 / T``; SciPy's bounded search over ``log T`` finds its
    minimum in [0.01, 100]. If all images are right the best ``T`` is as small as it may
    be.

    Args:
        logits: ``(N, C)``, of images that were not trained on.
        targets: ``(N,)``, integer.

    Source: Guo et al. 2017, temperature scaling.

    >>> u, y = torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    >>> round(fit_temperature(u, y), 3)  # softmax of 4 / T is to be 3/4: T = 4 / log 3
    3.641
    """
    from scipy.optimize import minimize_scalar

    check_batch(logits, targets)
    u, y = logits.double(), targets.long()
    found = minimize_scalar(
        lambda log_t: float(F.cross_entropy(u / math.exp(log_t), y)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def calibration_error(logits: Tensor, targets: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error, in [0, 1].

    The images are sorted into ``bins`` of equal width by their largest probability; it is
    the mean distance between that probability and the accuracy in the bin.

    Source: Guo et al. 2017; 15 bins is theirs.

    >>> logits = torch.tensor([[3.0, 0.0]] * 4)  # says 0.953, is right half the time
    >>> round(calibration_error(logits, torch.tensor([0, 0, 1, 1])), 3)
    0.453
    """
    check_batch(logits, targets)
    check_count(bins, "bins")
    p, guess = logits.double().softmax(1).max(1)
    which = (p * bins).long().clamp(max=bins - 1)
    excess = (guess == targets).double() - p
    return float(p.new_zeros(bins).index_add(0, which, excess).abs().sum() / len(p))
