"""Sums and means over the samples of each class, with shapes that do not depend on data.

What belongs to a class is kept in a table of ``R = min(B, C)`` rows: row ``c`` for class
``c`` if ``C <= B``, else the row of a class's first sample. No ``C x C`` table, no loop
over classes, and nothing is asked of the device.
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
        classes: ``(R,)``, the class of each row; a row without samples is not used.
        size: ``R``; ``square``, whether that is ``C``.

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
        size = targets.shape[0]
        self.size, self.square = min(size, num_classes), num_classes <= size
        self.row = self._own = targets
        if not self.square:
            index = torch.arange(size, device=targets.device)
            first = targets.new_full((num_classes,), size)
            self.row = first.scatter_reduce_(0, targets, index, "amin")[targets]

    @property
    def classes(self) -> Tensor:
        return torch.arange(self.size, device=self.row.device) if self.square else self._own

    def expand(self, table: Tensor) -> Tensor:
        """Return for each sample its class's row, ``(R, A)`` to ``(B, A)``."""
        return table.index_select(0, self.row)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over each class's samples, ``(B, A)`` to ``(R, A)``."""
        table = values.new_zeros(self.size, values.shape[1])
        return table.index_add_(0, self.row, values)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over each class's samples, ``(B, C)`` to ``(R, C)``."""
        size = self.sum(torch.ones_like(values[:, :1])).clamp_(min=1)
        return self.sum(values).div_(size)

    def own(self, table: Tensor) -> Tensor:
        """Return each row's entry of its class, ``(R, C)`` to ``(R,)``, perhaps a view."""
        if self.square:
            return table.diagonal()
        return table.gather(1, self._own[:, None]).view(-1)

    def set_own(self, table: Tensor, value: float) -> Tensor:
        """Set each row's entry of its class in place, ``(R, C)``."""
        if self.square:
            return table.fill_diagonal_(value)
        return table.scatter_(1, self._own[:, None], value)

    def common(self, values: Tensor) -> Tensor:
        """Return what all samples of a class share, ``(B, 1)`` to ``(R, 1)``."""
        # zeros elsewhere: what an empty tensor holds may be slow to calculate with
        return values.new_zeros(self.size, 1).scatter_(0, self.row[:, None], values)
