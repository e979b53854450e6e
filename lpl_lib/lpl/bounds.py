"""How far the logits of each class may be moved: fixed and varied bounds."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_number
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.state import FullPrecision


class Bound(FullPrecision):
    r"""Maps class statistics and signs to bounds :math:`\varepsilon_c` ``(C,)``, >= 0.

    Bounds are in the units of the logits (nats); what a bound means depends on the
    solver's norm.

    Attributes:
        largest: no class's bound exceeds it; solvers that step need it beforehand.
        num_classes: the number of classes it was made for; ``None`` if any.
        uses_confidence: whether it looks at the statistics at all.
    """

    largest: float
    num_classes: int | None = None
    uses_confidence: bool = True


class FixedBound(Bound):
    r"""The same bound for every class, :math:`\varepsilon_c = \varepsilon`.

    Args:
        epsilon: >= 0; 0 leaves the base loss.

    >>> FixedBound(0.5)(None, torch.tensor([1.0, -1.0]))
    tensor([0.5000, 0.5000])
    """

    uses_confidence = False

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.largest = check_number(epsilon, "epsilon")

    def forward(self, statistics: ClassStatistics | None, signs: Tensor) -> Tensor:
        return torch.full_like(signs, self.largest)


class ConfidenceBound(Bound):
    r"""The further a class's confidence is from the threshold, the larger its bound.

    .. math:: \varepsilon_c = \varepsilon + \Delta\varepsilon \, |\tau - \bar q_c|

    The threshold :math:`\tau` is the split's: that of :class:`~lpl_lib.ConfidenceSplit`
    if it has one, else the mean confidence of the classes seen.

    Args:
        epsilon: smallest bound, >= 0.
        extra: :math:`\Delta\varepsilon` >= 0.

    Source: Eq. 13 of Li et al., for balanced sets.

    >>> statistics = ClassStatistics(torch.tensor([0.9, 0.5]), torch.tensor([True, True]))
    >>> ConfidenceBound(0.1, extra=1.0)(statistics, torch.tensor([-1.0, 1.0]))
    tensor([0.3000, 0.3000])
    """

    def __init__(self, epsilon: float, extra: float) -> None:
        super().__init__()
        self.epsilon = check_number(epsilon, "epsilon")
        self.extra = check_number(extra, "extra")
        self.largest = self.epsilon + self.extra

    def forward(self, statistics: ClassStatistics, signs: Tensor) -> Tensor:
        return self.epsilon + self.extra * (statistics.tau - statistics.confidence).abs()


class FrequencyBound(Bound):
    r"""The most and the least frequent classes get the largest bounds.

    .. math::

        \varepsilon_c = \varepsilon + \Delta\varepsilon \cdot
        \begin{cases} n_c / \max_k n_k & c \text{ in the head (sign } -1) \\
                      \min_k n_k / n_c & c \text{ in the tail (sign } +1) \end{cases}

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        epsilon: smallest bound, >= 0.
        extra: :math:`\Delta\varepsilon` >= 0.

    Source: Eq. 14 of Li et al. with class frequencies, as their released code has it
    (the equation as printed has mean confidences in their place).

    >>> bound = FrequencyBound([100, 50, 10], epsilon=0.1, extra=1.0)
    >>> bound(None, torch.tensor([-1.0, 1.0, 1.0]))
    tensor([1.1000, 0.3000, 1.1000])
    """

    of_head: Tensor
    of_tail: Tensor
    uses_confidence = False

    def __init__(self, class_counts: ClassCounts, epsilon: float, extra: float) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.num_classes = len(counts)
        self.largest = check_number(epsilon, "epsilon") + check_number(extra, "extra")
        for name, share in (
            ("head", counts / counts.max()),
            ("tail", counts.min() / counts),
        ):
            self.register_buffer(f"of_{name}", (epsilon + extra * share).float())

    def forward(self, statistics: ClassStatistics | None, signs: Tensor) -> Tensor:
        return torch.where(signs < 0, self.of_head, self.of_tail)
