"""Variants that chapters compare: Eq. 14 as printed, a sign for each quadrant, PGD."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lpl_lib.checks import (
    BaseLoss,
    ClassCounts,
    check_class_counts,
    check_count,
    check_number,
)
from lpl_lib.lpl import Bound, ClassStatistics, RankSplit, Split
from lpl_lib.lpl.gradients import ascent
from lpl_lib.lpl.groups import ClassGroups


class ConfidenceRatioBound(Bound):
    r"""Eq. 14 as printed: bounds by ratios of mean confidences.

    .. math::

        \varepsilon_c = \varepsilon + \Delta\varepsilon \cdot
        \begin{cases} \bar q_c / \bar q_1 & c \text{ in the head (sign } -1) \\
                      \bar q_C / \bar q_c & c \text{ in the tail (sign } +1) \end{cases}

    with class 1 the most frequent and class ``C`` the rarest. Ratios above 1 count as 1,
    so that no bound exceeds :math:`\varepsilon + \Delta\varepsilon`; where a confidence is
    not known (the class was not seen) the ratio counts as 0. ``FrequencyBound`` is the
    reading of the released code.

    Args:
        class_counts: training images per class, ``(C,)``, which say what is rarest.
        epsilon: smallest bound, >= 0.
        extra: :math:`\Delta\varepsilon` >= 0.

    Source: Eq. 14 of Li et al.

    >>> bound = ConfidenceRatioBound([100, 50, 10], epsilon=0.1, extra=1.0)
    >>> seen = torch.tensor([True, True, True])
    >>> statistics = ClassStatistics(torch.tensor([0.8, 0.4, 0.2]), seen)
    >>> bound(statistics, torch.tensor([-1.0, 1.0, 1.0]))
    tensor([1.1000, 0.6000, 1.1000])
    """

    ends: Tensor

    def __init__(self, class_counts: ClassCounts, epsilon: float, extra: float) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.epsilon = check_number(epsilon, "epsilon")
        self.extra = check_number(extra, "extra")
        self.num_classes = len(counts)
        self.register_buffer("ends", torch.stack([counts.argmax(), counts.argmin()]))
        self.largest = self.epsilon + self.extra

    def forward(self, statistics: ClassStatistics, signs: Tensor) -> Tensor:
        q = torch.where(statistics.seen, statistics.confidence, torch.nan)
        most, least = q[self.ends]
        ratio = torch.where(signs < 0, q / most, least / q)
        return self.epsilon + self.extra * ratio.nan_to_num(0.0).clamp(0, 1)


class QuadrantSplit(Split):
    """A direction for each of the four groups: head or tail label, positive or negative.

    Args:
        label_counts: images that have the label, ``(K,)``, all positive.
        num_head: how many of the most frequent labels are the head, from 0 to ``K``.
        head: signs of the head labels' (positives, negatives): +1 raises the loss, -1
            lowers it, 0 leaves it alone.
        tail: the same for the other labels.

    Raises:
        ValueError: a sign other than -1, 0, 1; ``num_head`` beyond the labels.

    >>> QuadrantSplit([30, 5], num_head=1, head=(0, 0), tail=(1, -1))(None)
    tensor([ 0., -1.,  0.,  1.])
    """

    signs: Tensor
    uses_confidence = False

    def __init__(
        self,
        label_counts: ClassCounts,
        num_head: int,
        head: tuple[int, int],
        tail: tuple[int, int],
    ) -> None:
        super().__init__()
        counts = check_class_counts(label_counts, "label_counts")
        for name, pair in (("head", head), ("tail", tail)):
            if len(pair) != 2 or any(sign not in (-1, 0, 1) for sign in pair):
                raise ValueError(
                    f"{name} must be two signs (positives, negatives), each -1, 0 or 1, "
                    f"got {pair!r}"
                )
        is_head = RankSplit(counts, num_head).signs < 0
        self.num_classes = 2 * len(counts)
        sides = [torch.where(is_head, float(head[j]), float(tail[j])) for j in (1, 0)]
        self.register_buffer("signs", torch.cat(sides))

    def forward(self, statistics: ClassStatistics | None) -> Tensor:
        return self.signs


@dataclass(frozen=True)
class PGD:
    r"""Projected gradient steps of fixed length on the Euclidean ball.

    .. math:: \delta_c \leftarrow \Pi_{\varepsilon_c} \left( \delta_c \pm
              a\,\varepsilon_c \, g_c / \|g_c\|_2 \right)

    The standard way to solve such problems, and the slow one: :class:`~lpl_lib.L2` gets
    as far in two steps. ``delta`` sums to zero and has Euclidean norm at most
    :math:`\varepsilon_c`.

    Args:
        steps: number of steps, >= 1.
        share: ``a``, the length of a step as a share of the bound, > 0.

    >>> delta = PGD()(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1.0]), 1.0)
    >>> delta.round(decimals=3)
    tensor([[-0.8160,  0.4080,  0.4080]])
    """

    steps: int = 20
    share: float = 0.25

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")
        check_number(self.share, "share", strict=True)

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        radius: Tensor,
        largest: float,
        base_loss: BaseLoss | None = None,
    ) -> Tensor:
        groups = ClassGroups(targets, logits.shape[1])
        radius = radius.to(logits.dtype)[:, None]
        inside = logits.new_zeros(groups.size, logits.shape[1])
        for _ in range(self.steps):
            moved = groups.expand(inside).mul_(radius).add_(logits)
            table, length = ascent(moved, targets, groups, base_loss)
            inside.addcdiv_(table, length, value=self.share)  # units of the signed radius
            length = torch.linalg.vector_norm(inside, dim=1, keepdim=True)
            inside.div_(length.clamp_(min=1))
        return groups.expand(inside).mul_(radius)
