"""The mean confidence of each class, in a batch or as a running mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpl_lib.checks import check_count
from lpl_lib.state import FullPrecision


class ClassStatistics(NamedTuple):
    """What splits and bounds know of the classes.

    Attributes:
        confidence: ``(C,)``, ``q_c``, mean softmax probability that the samples of
            class ``c`` give to ``c``; 0 where not ``seen``.
        seen: ``(C,)``, bool, whether class ``c`` has a confidence.
        threshold: a fixed one for ``tau``, or ``None``.
    """

    confidence: Tensor
    seen: Tensor
    threshold: float | None = None

    @property
    def tau(self) -> Tensor | float:
        """The fixed threshold, or without it the mean of ``q_c`` over the classes seen."""
        if self.threshold is not None:
            return self.threshold
        return self.confidence.sum() / self.seen.count_nonzero().clamp(min=1)


class ClassConfidence(FullPrecision):
    r"""Estimates :math:`\bar q_c`, the mean of :math:`p_c` over the samples of class c.

    Args:
        num_classes: ``C``.
        decay: ``None`` uses each batch alone, where absent classes are not seen. A
            number in ``[0, 1)`` keeps a running mean
            :math:`\bar q_c \leftarrow d\,\bar q_c + (1 - d)\,\hat q_c` over the batches
            that hold the class, in ``state_dict``, updated in training mode only.

    Source: Eq. 9 of Li et al., which averages over the class's training samples; how a
    batch stands for them is left open there.

    Raises:
        ValueError: ``decay`` outside ``[0, 1)``.

    >>> logits = torch.tensor([[0.0, 0.0, -torch.inf], [9.0, 9.0, 9.0]]).clamp(min=-99)
    >>> ClassConfidence(3)(logits, torch.tensor([0, 2])).confidence.round(decimals=3)
    tensor([0.5000, 0.0000, 0.3330])
    """

    confidence: Tensor
    seen: Tensor

    def __init__(self, num_classes: int, decay: float | None = None) -> None:
        super().__init__()
        self.num_classes = check_count(num_classes, "num_classes")
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"decay must be None or in [0, 1), got {decay}")
        self.decay, self.learns = decay, decay is not None
        if decay is not None:
            self.register_buffer("confidence", torch.zeros(num_classes))
            self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.bool))

    def forward(self, logits: Tensor, targets: Tensor, *mass: Tensor) -> ClassStatistics:
        """Return the statistics after this batch; logits ``(B, C)``, targets ``(B,)``, and
        the mass of own class and of all in the batch's groups ``(R,)`` if known."""
        batch = self._of_batch(logits, targets, *mass)
        if self.decay is None:
            return batch
        if self.training:
            keep = torch.where(self.seen, self.decay, 0.0)
            mixed = keep * self.confidence + (1 - keep) * batch.confidence
            # a logit that is not finite (fp16) must not spoil what later batches see
            usable = batch.seen & batch.confidence.isfinite()
            self.confidence.copy_(torch.where(usable, mixed, self.confidence))
            self.seen.logical_or_(usable)
        return ClassStatistics(self.confidence.clone(), self.seen.clone())

    def _of_batch(self, logits: Tensor, targets: Tensor, *mass: Tensor) -> ClassStatistics:
        if mass:
            own, size = mass
        else:
            own = logits.detach().softmax(1).gather(1, targets[:, None]).view(-1).float()
            size = torch.ones_like(own)
        if own.shape[0] < self.num_classes or not mass:  # to a number a class
            none = own.new_zeros(self.num_classes)
            own, size = none.index_add(0, targets, own), none.index_add(0, targets, size)
        return ClassStatistics(own / size.clamp(min=1e-30), size.bool())
