"""LPL: class-level logit perturbations that are learned batch by batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.checks import BaseLoss, check_count, check_number
from lpl_lib.lpl.bounds import Bound, FixedBound
from lpl_lib.lpl.confidence import ClassConfidence
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.lpl.solvers import SOLVERS, Solver
from lpl_lib.lpl.splits import ConfidenceSplit, Split
from lpl_lib.perturbations import Perturbation, frozen
from lpl_lib.variation import class_relative_variation


class LPL(Perturbation):
    r"""Learning to perturb logits: each class's loss is raised or lowered within a bound.

    .. math:: \sum_{c \in N} \min_{\|\delta_c\| \le \epsilon_c}
              \sum_{i \in S_c} \ell(u_i + \delta_c, c) +
              \sum_{c \in P} \max_{\|\delta_c\| \le \epsilon_c}
              \sum_{i \in S_c} \ell(u_i + \delta_c, c)

    In each batch the *split* says which classes are in ``P`` (positively augmented, loss
    raised) and which in ``N`` (negatively, lowered); the *bound* gives
    :math:`\epsilon_c`; the *solver* finds :math:`\delta_c`. ``delta`` is then held
    constant while the loss is back-propagated (Algorithm 2). Classes that are absent
    from the batch play no part.

    Args:
        num_classes: ``C``.
        split: default :class:`~lpl_lib.ConfidenceSplit` (Eq. 9, balanced sets); for
            long-tail sets :class:`~lpl_lib.RankSplit` (Eq. 10).
        bound: a number for :class:`~lpl_lib.FixedBound`, or a bound such as
            :class:`~lpl_lib.ConfidenceBound` (Eq. 13) or
            :class:`~lpl_lib.FrequencyBound` (Eq. 14). In nats; default 0.5.
        solver: ``"l2"`` (default), ``"linf"``, ``"pgd"``, ``"algorithm1"``, or a solver
            such as ``L2(steps=3)``. The same bound means something else to each.
        base_loss: the loss that is raised and lowered inside; default cross-entropy, in
            closed form. Pass the one that the :class:`~lpl_lib.PerturbedLoss` has, if it
            has one: label smoothing, focal, any callable.
        decay: of the running mean confidence; ``None`` uses each batch alone. See
            :class:`~lpl_lib.lpl.confidence.ClassConfidence`.

    Source: Eq. 8 and Algorithms 1-2 of Li et al. (arXiv 2209.05668).

    Raises:
        ValueError: an unknown solver (the known ones are listed), a negative bound, a
            split or bound made for another number of classes.

    >>> lpl = LPL(3, bound=1.0, solver="linf")
    >>> logits = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> lpl(logits, torch.tensor([0, 1]))  # class 0 is learnt, class 1 is not
    tensor([[ 1., -1., -1.],
            [ 1., -1.,  1.]])
    """

    def __init__(
        self,
        num_classes: int,
        split: Split | None = None,
        bound: Bound | float = 0.5,
        solver: Solver | str = "l2",
        decay: float | None = None,
        base_loss: BaseLoss | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = check_count(num_classes, "num_classes")
        self.split = ConfidenceSplit() if split is None else split
        if not isinstance(self.split, Split):
            raise ValueError(
                f"split must be a Split such as RankSplit(class_counts), got {split!r}"
            )
        self.bound = (
            bound if isinstance(bound, Bound) else FixedBound(check_number(bound, "bound"))
        )
        self.solver = _solver(solver)
        self.base_loss = base_loss
        self.confidence = ClassConfidence(num_classes, decay)
        for name, part in (("split", self.split), ("bound", self.bound)):
            if part.num_classes not in (None, num_classes):
                raise ValueError(
                    f"{name} was made for {part.num_classes} classes, "
                    f"but num_classes is {num_classes}"
                )

    @torch.no_grad()
    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        logits, targets, own = whole_batch(logits, targets)
        needed = self.split.uses_confidence or self.bound.uses_confidence
        # a split by rank with a bound by frequency looks at no confidence: spare it
        statistics: Any = self.confidence(logits, targets) if needed else None
        signs = self.split(statistics)
        radius = (signs * self.bound(statistics, signs)).index_select(0, targets)
        delta = self.solver(logits, targets, radius, self.bound.largest, self.base_loss)
        return delta[own]

    def class_variation(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the relative loss variation that LPL causes per class, ``(C,)``.

        See :func:`~lpl_lib.class_relative_variation`; NaN for absent classes. Running
        statistics are left as they are. The measure that makes solvers comparable. With
        several processes all must call it, each for its own samples.
        """
        with frozen(self):
            delta = self(logits, targets)
        return class_relative_variation(logits, targets, delta)


def _solver(solver: Solver | str) -> Solver:
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]()
    if isinstance(solver, (str, type)) or not callable(solver):
        raise ValueError(
            f"solver must be one of {sorted(SOLVERS)} or a solver such as L2(), "
            f"got {solver!r}"
        )
    return solver
