"""The two groups of every label, its negatives and its positives, as ``2 K`` classes.

Group ``k`` holds the negatives of label ``k``, group ``K + k`` its positives. Every
:class:`~lpl_lib.lpl.splits.Split` and :class:`~lpl_lib.lpl.bounds.Bound` of the
single-label library works on them as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_count, check_label_counts
from lpl_lib.lpl.confidence import ClassConfidence, ClassStatistics


def group_counts(label_counts: ClassCounts, num_samples: int) -> Tensor:
    """Return the sizes of the groups, ``(2 K,)`` float64: negatives, then positives.

    >>> group_counts([30, 5], num_samples=100)
    tensor([70., 95., 30.,  5.], dtype=torch.float64)
    """
    positives = check_label_counts(label_counts, num_samples)
    return torch.cat([num_samples - positives, positives])


def group_values(table: Tensor, targets: Tensor) -> Tensor:
    """Return each entry's value from its group, ``(2 K,)`` to ``(B, K)``."""
    negatives, positives = table.view(2, -1)
    return torch.where(targets > 0, positives, negatives)


class GroupConfidence(ClassConfidence):
    r"""Estimates the mean confidence of each group.

    .. math:: \bar q_k^+ = \operatorname{mean}_{i : t_{ik} = 1} p_{ik}, \qquad
              \bar q_k^- = \operatorname{mean}_{i : t_{ik} = 0} (1 - p_{ik})

    A label without a positive in the batch is the normal case: its group is not seen.

    Args:
        num_labels: ``K``.
        decay: of a running mean over batches; ``None`` uses each batch alone. See
            :class:`~lpl_lib.lpl.confidence.ClassConfidence`.

    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> found = GroupConfidence(2)(logits, torch.tensor([[1, 0], [0, 0]]))
    >>> found.confidence, found.seen
    (tensor([0.5000, 0.5000, 0.5000, 0.0000]), tensor([ True,  True,  True, False]))
    """

    def __init__(self, num_labels: int, decay: float | None = None) -> None:
        super().__init__(2 * check_count(num_labels, "num_labels"), decay)

    def _of_batch(self, logits: Tensor, targets: Tensor, *mass: Tensor) -> ClassStatistics:
        positive, negative = targets > 0, targets <= 0  # neither where not known: NaN
        p = logits.float().sigmoid()
        size = torch.cat([negative.sum(0), positive.sum(0)])
        total = torch.cat([((1 - p) * negative).sum(0), (p * positive).sum(0)])
        return ClassStatistics(total / size.clamp(min=1), size > 0)
