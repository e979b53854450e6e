"""Sums and means over the samples of each class, with shapes that do not depend on data.

A batch holds at most ``B`` of the ``C`` classes, and most classes are absent from most
batches. So per-class rows are kept in ``B`` slots: a class's slot is the index of its
first sample. That costs ``O(B C)`` whatever ``C`` is (no ``C x C`` table), needs no loop
over classes, and asks the device nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ClassGroups:
    """Which samples of a batch share a class.

    Args:
        targets: ``(B,)``, int64, in ``[0, num_classes)``.
        num_classes: ``C``.

    Attributes:
        slot: ``(B,)``, the index of the first sample with the same class.

    >>> groups = ClassGroups(torch.tensor([7, 2, 7]), num_classes=10)
    >>> groups.slot
    tensor([0, 1, 0])
    >>> groups.mean(torch.tensor([[1.0], [5.0], [3.0]]))  # one row a sample
    tensor([[2.],
            [5.],
            [2.]])
    """

    def __init__(self, targets: Tensor, num_classes: int) -> None:
        size = len(targets)
        index = torch.arange(size, device=targets.device)
        first = torch.full((num_classes,), size, device=targets.device)
        first = first.scatter_reduce(0, targets, index, "amin")
        self.slot = first[targets]

    def sum(self, values: Tensor) -> Tensor:
        """Return, for each sample, the sum of ``values`` ``(B, ...)`` over its class."""
        total = torch.zeros_like(values).index_add(0, self.slot, values)
        return total[self.slot]

    def mean(self, values: Tensor) -> Tensor:
        """Return, for each sample, the mean of ``values`` ``(B, ...)`` over its class."""
        size = self.sum(torch.ones_like(values[:, :1]))
        return self.sum(values) / size

    def softmax(self, scores: Tensor) -> Tensor:
        """Return weights ``(B,)`` proportional to ``exp(scores)``, 1 in sum per class."""
        highest = torch.full_like(scores, -torch.inf)
        highest = highest.scatter_reduce(0, self.slot, scores, "amax")
        weights = torch.exp(scores - highest[self.slot])
        return weights / self.sum(weights)
