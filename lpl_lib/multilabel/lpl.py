"""LPL for many labels: two numbers a label, in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, Task, check_label_counts, check_number
from lpl_lib.lpl.bounds import Bound, FixedBound
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.lpl.splits import Split, check_parts
from lpl_lib.multilabel.groups import GroupConfidence, group_values
from lpl_lib.multilabel.policies import MajoritySplit, PriorBound
from lpl_lib.perturbations import Perturbation


class MultilabelLPL(Perturbation):
    r"""Learning to perturb the logits of a label's positives and of its negatives.

    .. math:: \sum_{k} \sum_{s \in \{+, -\}}
              \operatorname*{opt}_{|\delta_k^s| \le \varepsilon_k^s}
              \sum_{i \in S_k^s} \ell^s(u_{ik} + \delta_k^s),

    where opt is max for the groups that the *split* augments positively and min for the
    others. A group's loss is monotone in its one number, so the solution stands at an
    end of the interval, for every base loss of
    :mod:`lpl_lib.multilabel.base_losses` and for any weights:

    .. math:: \delta_k^+ = -s_k^+ \varepsilon_k^+, \qquad
              \delta_k^- = +s_k^- \varepsilon_k^-, \qquad s = +1 \text{ for max}, -1
              \text{ for min}.

    ``delta`` is held constant while the loss is back-propagated.

    Args:
        label_counts: training images that have the label, ``(K,)``, in
            ``(0, num_samples)``.
        num_samples: training images ``N``.
        bound: any bound over the groups, or a number for all. In nats. Default
            ``PriorBound(label_counts, num_samples)``: the larger group of each label is
            lowered by the label's log-odds, the smaller one is left alone.
        split: any split over the ``2 K`` groups (negatives, then positives). Default
            :class:`~lpl_lib.multilabel.MajoritySplit`; also
            ``ConfidenceSplit()``.
        decay: of the running mean confidence; ``None`` uses each batch alone.
        process_group: as for :class:`~lpl_lib.LPL`.

    Source: this book (chapter 16). The authors' multi-label formula was not available to
    us; this form carries Eq. 8 of Li et al. (arXiv 2209.05668) over to the two groups.

    Raises:
        ValueError: a label without positives or negatives; a split or bound made for
            another number of groups; a negative bound.

    >>> lpl = MultilabelLPL([10, 80], num_samples=100, bound=1.0)
    >>> lpl(torch.zeros(2, 2), torch.tensor([[1, 1], [0, 0]]))
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """

    task: Task = "multilabel"

    def __init__(
        self,
        label_counts: ClassCounts,
        num_samples: int,
        bound: Bound | float | None = None,
        *,
        split: Split | None = None,
        decay: float | None = None,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.process_group = process_group
        counts = check_label_counts(label_counts, num_samples)
        self.num_classes = len(counts)
        self.split = MajoritySplit(counts, num_samples) if split is None else split
        if bound is None:
            bound = PriorBound(counts, num_samples)
        self.bound = (
            bound if isinstance(bound, Bound) else FixedBound(check_number(bound, "bound"))
        )
        groups, size = 2 * self.num_classes, self.num_classes
        known = f"groups, but {size} labels have {groups}: negatives, then positives"
        check_parts(self.split, self.bound, groups, "ConfidenceSplit()", known)
        self.confidence = GroupConfidence(self.num_classes, decay)

    @torch.no_grad()
    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        statistics: Any = None
        if self.split.uses_confidence or self.bound.uses_confidence:
            everyone, labels, _ = whole_batch(logits, targets, self.process_group)
            statistics = self.confidence(everyone, labels)
            statistics = statistics._replace(threshold=self.split.threshold)
        signs = self.split(statistics)
        return closed_form(targets, signs * self.bound(statistics, signs)).to(logits.dtype)


def closed_form(targets: Tensor, radius: Tensor) -> Tensor:
    """Return the solution of the inner problem, ``(B, K)``, for targets ``(B, K)`` of 0
    and 1 and the groups' signed bounds ``(2 K,)``, positive to maximise the loss.

    >>> closed_form(torch.tensor([[1.0], [0.0]]), torch.tensor([-2.0, 0.5]))
    tensor([[-0.5000],
            [-2.0000]])
    """
    negatives, positives = radius.view(2, -1)
    return group_values(torch.cat([negatives, -positives]), targets)
