"""LPL: class-level logit perturbations that are learned batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_count
from lpl_lib.lpl.bounds import Bound, FixedBound
from lpl_lib.lpl.confidence import ClassConfidence
from lpl_lib.lpl.solvers import SOLVERS, Solver
from lpl_lib.lpl.splits import ConfidenceSplit, Split
from lpl_lib.perturbations import Perturbation


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
        solver: ``"l2"`` (default), ``"linf"``, ``"algorithm1"``, or a solver such as
            ``L2(steps=3)``. The same bound means something else to each.
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
    ) -> None:
        super().__init__()
        self.num_classes = check_count(num_classes, "num_classes")
        self.split = ConfidenceSplit() if split is None else split
        self.bound = bound if isinstance(bound, Bound) else FixedBound(bound)
        self.solver = _solver(solver)
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
        statistics = self.confidence(logits, targets)
        signs = self.split(statistics)
        radius = (signs * self.bound(statistics, signs))[targets]
        return self.solver(logits, targets, radius, self.bound.largest)


def _solver(solver: Solver | str) -> Solver:
    if not isinstance(solver, str):
        return solver
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {sorted(SOLVERS)}, got {solver!r}")
    return SOLVERS[solver]()
