"""Sums and means over the samples of each class, with shapes that do not depend on data.

A batch of ``B`` samples holds at most ``B`` of the ``C`` classes, and most classes are
absent from most batches. So what belongs to a class is kept in a table of
``R = min(B, C)`` rows: row ``c`` for class ``c`` if ``C <= B``, else the row of a class's
first sample. No ``C x C`` table, no loop over classes, and nothing is asked of the device.
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
        row: ``(B,)``, each sample's row in the tables of its batch.
        classes: ``(R,)``, the class of each row. Rows without samples exist; what
            stands in them is not used.

    >>> groups = ClassGroups(torch.tensor([7, 2, 7]), num_classes=10)
    >>> groups.row, groups.classes
    (tensor([0, 1, 0]), tensor([7, 2, 7]))
    >>> means = groups.mean(torch.tensor([[1.0], [5.0], [3.0]]))  # one row a class
    >>> groups.expand(means)  # one row a sample
    tensor([[2.],
            [5.],
            [2.]])
    """

    def __init__(self, targets: Tensor, num_classes: int) -> None:
        size = len(targets)
        if num_classes <= size:
            self.row = targets
            self.classes = torch.arange(num_classes, device=targets.device)
        else:
            index = torch.arange(size, device=targets.device)
            first = index.new_full((num_classes,), size)
            self.row = first.scatter_reduce_(0, targets, index, "amin")[targets]
            self.classes = targets

    def expand(self, table: Tensor) -> Tensor:
        """Return for each sample its class's row, ``(R, ...)`` to ``(B, ...)``."""
        return table.index_select(0, self.row)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over each class's samples, ``(B, ...)`` to ``(R, ...)``."""
        table = values.new_zeros(len(self.classes), *values.shape[1:])
        return table.index_add_(0, self.row, values)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over each class's samples, ``(B, C)`` to ``(R, C)``."""
        size = self.sum(torch.ones_like(values[:, 0])).clamp_(min=1)
        return self.sum(values).div_(size[:, None])

    def common(self, values: Tensor) -> Tensor:
        """Return what all samples of a class share, ``(B, 1)`` to ``(R, 1)``."""
        table = values.new_zeros(len(self.classes), 1)
        return table.index_copy_(0, self.row, values)

    def softmax(self, scores: Tensor) -> Tensor:
        """Return weights ``(B,)`` proportional to ``exp(scores)``, 1 in sum per class."""
        highest = scores.new_full((len(self.classes),), -torch.inf)
        highest = highest.scatter_reduce_(0, self.row, scores, "amax")
        weights = (scores - self.expand(highest)).exp_()
        return weights / self.expand(self.sum(weights))
