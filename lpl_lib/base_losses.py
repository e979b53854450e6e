"""Base losses that treat classes or samples unlike: focal, and class-balanced weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_number
from lpl_lib.state import FullPrecision


class FocalLoss(FullPrecision):
    r"""Cross-entropy that counts little where the net is sure of the label.

    .. math:: \ell = -(1 - p_y)^{\gamma} \log p_y

    Args:
        gamma: :math:`\gamma` >= 0; 0 is cross-entropy. 2 in the paper, for detection; 1
            in LDAM's experiments on long-tailed CIFAR.
        weight: of the classes, ``(C,)``; default: alike. The mean is the weighted one, as
            in ``nn.CrossEntropyLoss``; LDAM-DRW's code divides by the batch's size.
        ignore_index: the label of samples that do not count.

    Source: Lin et al. 2017, "Focal loss for dense object detection", Eq. 4 and 5, for
    softmax.

    >>> FocalLoss(gamma=1.0)(torch.zeros(1, 2), torch.tensor([0]))  # log(2) / 2
    tensor(0.3466)
    """

    weight: Tensor | None

    def __init__(
        self, gamma: float = 1.0, weight: Tensor | None = None, ignore_index: int = -100
    ) -> None:
        super().__init__()
        self.gamma = check_number(gamma, "gamma")
        self.ignore_index = ignore_index
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch, for logits ``(B, C)`` and targets ``(B,)``."""
        if targets.is_floating_point():
            raise ValueError(
                "targets must be integer labels, got probabilities: the focal loss is not "
                "linear in them, as mixed targets need"
            )
        weight = None if self.weight is None else self.weight.to(logits.dtype)
        ignored = self.ignore_index
        if self.gamma == 0:  # 0 ** 0 has no gradient to speak of
            return F.cross_entropy(logits, targets, weight, ignore_index=ignored)
        loss = F.cross_entropy(logits, targets, ignore_index=ignored, reduction="none")
        missed = -torch.expm1(-loss)  # 1 - p to full precision
        if self.gamma != 1:  # off zero, where a power below 1 has no slope
            missed = missed.clamp(min=1e-12) ** self.gamma
        loss = missed * loss
        counted = targets != ignored
        if weight is None:
            return loss.sum() / counted.count_nonzero()
        weights = weight[targets.where(counted, 0)] * counted
        return (weights * loss).sum() / weights.sum()


def class_balanced_weights(class_counts: ClassCounts, beta: float = 0.9999) -> Tensor:
    r"""Return weights by the effective number of samples, ``(C,)``, float32, mean 1.

    .. math:: w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        beta: :math:`\beta` in [0, 1); 0 weighs all alike, towards 1 by inverse frequency.

    Source: Cui et al. 2019, "Class-balanced loss based on effective number of samples".

    Raises:
        ValueError: ``beta`` outside [0, 1), a count that is not positive.

    >>> class_balanced_weights([3, 1], beta=0.5)
    tensor([0.7273, 1.2727])
    """
    counts = check_class_counts(class_counts)
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1), got {beta}")
    weights = (1 - beta) / (1 - beta**counts)
    return (weights * len(counts) / weights.sum()).float()
