"""Which class is augmented which way: positively (loss raised) or negatively (lowered)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_count, check_number
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.state import FullPrecision

SAME_CONFIDENCE = 1e-6  # confidences closer than this are equal: they are known to float32


class Split(FullPrecision):
    r"""Maps class statistics to signs ``(C,)``: +1 raises the loss, -1 lowers it.

    Attributes:
        num_classes: the number of classes it was made for; ``None`` if any.
        uses_confidence: whether it looks at the statistics at all.
        threshold: of the confidence, :math:`\tau`; ``None`` for the classes' mean.
    """

    num_classes: int | None = None
    uses_confidence: bool = True
    threshold: float | None = None


class ConfidenceSplit(Split):
    r"""Classes below the confidence threshold are augmented positively, others negatively.

    .. math:: s_c = +1 \text{ if } \bar q_c < \tau, \text{ else } -1

    Args:
        threshold: :math:`\tau` in [0, 1]; ``None`` (default) takes the mean of
            :math:`\bar q_c` over the classes seen, and so moves with training.

    Confidences are known to float32 only: a lag of less than 1e-6 counts as a tie, and
    ties are lowered.

    Source: Eq. 9 of Li et al., for balanced sets.

    >>> statistics = ClassStatistics(torch.tensor([0.9, 0.5, 0.0]),
    ...                              seen=torch.tensor([True, True, False]))
    >>> ConfidenceSplit()(statistics)[:2]  # threshold 0.7; class 2 has no sample
    tensor([-1.,  1.])
    """

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__()
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(
                f"threshold must be None or a confidence in [0, 1], got {threshold}"
            )
        self.threshold = None if threshold is None else check_number(threshold, "threshold")

    def forward(self, statistics: ClassStatistics) -> Tensor:
        tau = statistics.tau if self.threshold is None else self.threshold
        # a tie with the mean, which is rounded, is not below it
        return torch.threshold(tau - statistics.confidence, SAME_CONFIDENCE, -1.0).sign_()


class RankSplit(Split):
    r"""The most frequent classes are augmented negatively, the others positively.

    Args:
        class_counts: training images per class, ``(C,)``, in any order.
        num_head: how many of the most frequent classes are the head, from 0 to ``C``.
            Default: 40% of the classes, which is 4 of 10 and 40 of 100 as in the
            authors' released scripts.

    Source: Eq. 10 of Li et al., for long-tail sets.

    Raises:
        ValueError: a count that is not positive; ``num_head`` beyond the classes.

    >>> RankSplit([5, 500, 50], num_head=1)(None)
    tensor([ 1., -1.,  1.])
    """

    signs: Tensor
    uses_confidence = False

    def __init__(self, class_counts: ClassCounts, num_head: int | None = None) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.num_classes = len(counts)
        if num_head is None:
            num_head = round(0.4 * len(counts))
        num_head = check_count(num_head, "num_head", minimum=0)
        if num_head > len(counts):
            raise ValueError(
                f"num_head must lie in [0, {len(counts)}], the number of classes, "
                f"got {num_head}"
            )
        signs = torch.ones(len(counts))
        signs[counts.argsort(descending=True, stable=True)[:num_head]] = -1
        self.register_buffer("signs", signs)

    def forward(self, statistics: ClassStatistics | None) -> Tensor:
        return self.signs


def check_parts(split: Any, bound: Any, size: int, such_as: str, known: str) -> None:
    """Refuse what is no split, and a split or bound made for another number of classes."""
    if not isinstance(split, Split):
        raise ValueError(f"split must be a Split such as {such_as}, got {split!r}")
    for name, part in (("split", split), ("bound", bound)):
        if part.num_classes not in (None, size):
            raise ValueError(f"{name} was made for {part.num_classes} {known}")
