"""Which group of a label, positives or negatives, is augmented which way, and how far."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_number
from lpl_lib.lpl.bounds import Bound
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.lpl.splits import RankSplit
from lpl_lib.multilabel.groups import group_counts
from lpl_lib.multilabel.perturbations import log_odds


class MajoritySplit(RankSplit):
    r"""Of each label, the larger group is lowered and the smaller one raised:
    :class:`~lpl_lib.RankSplit` over the ``2 K`` groups with the larger half as the head.

    Args:
        label_counts: images that have the label, ``(K,)``, in ``(0, num_samples)``.
        num_samples: training images ``N``.

    Source: this book (chapter 16), Eq. 10 of Li et al. applied to the groups.

    >>> MajoritySplit([30, 5, 80], num_samples=100)(None)
    tensor([-1., -1.,  1.,  1.,  1., -1.])
    """

    def __init__(self, label_counts: ClassCounts, num_samples: int) -> None:
        counts = group_counts(label_counts, num_samples)
        super().__init__(counts, num_head=len(counts) // 2)


class PriorBound(Bound):
    r"""Bounds in proportion to a label's log-odds, apart for its two groups.

    .. math:: \varepsilon_k^{\text{larger}} = a\, |\lambda_k|, \quad
              \varepsilon_k^{\text{smaller}} = b\, |\lambda_k|, \quad
              \lambda_k = \log\frac{1 - \pi_k}{\pi_k}

    With :class:`~lpl_lib.multilabel.MajoritySplit`, :math:`a = b` is
    :class:`~lpl_lib.multilabel.MultilabelLogitAdjustment` with :math:`\tau = a`: a shift
    of the label's bias and nothing else. Only :math:`a \neq b` is more than that.

    Args:
        label_counts: images that have the label, ``(K,)``, in ``(0, num_samples)``.
        num_samples: training images ``N``.
        majority: :math:`a` >= 0, for the larger group (a rare label's negatives).
        minority: :math:`b` >= 0, for the smaller group (a rare label's positives).

    Source: this book (chapter 16).

    >>> bound = PriorBound([10], num_samples=100, majority=1.0, minority=0.5)
    >>> bound(None, torch.tensor([-1.0, 1.0]))  # log 9 and half of it
    tensor([2.1972, 1.0986])
    """

    epsilon: Tensor
    uses_confidence = False

    def __init__(
        self,
        label_counts: ClassCounts,
        num_samples: int,
        majority: float = 1.0,
        minority: float = 0.0,
    ) -> None:
        super().__init__()
        check_number(majority, "majority")
        check_number(minority, "minority")
        size = log_odds(label_counts, num_samples)
        negatives = torch.where(size < 0, majority, minority) * size.abs()
        positives = torch.where(size < 0, minority, majority) * size.abs()
        epsilon = torch.cat([negatives, positives])
        self.num_classes = len(epsilon)
        self.largest = float(epsilon.max())
        self.register_buffer("epsilon", epsilon.float())

    def forward(self, statistics: ClassStatistics | None, signs: Tensor) -> Tensor:
        return self.epsilon
