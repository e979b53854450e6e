"""LPL: class-level logit perturbations that are learned batch by batch."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.checks import (
    BaseLoss,
    ClassCounts,
    check_class_counts,
    check_count,
    check_number,
    has_values,
)
from lpl_lib.lpl.bounds import Bound, FixedBound, FrequencyBound
from lpl_lib.lpl.confidence import ClassConfidence
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.lpl.solvers import L2, SOLVERS, LInf, Solver
from lpl_lib.lpl.splits import ConfidenceSplit, RankSplit, Split, check_parts
from lpl_lib.perturbations import Perturbation, frozen, move_own
from lpl_lib.variation import class_relative_variation


class LPL(Perturbation):
    r"""Learning to perturb logits: each class's loss is raised or lowered within a bound.

    .. math:: \sum_{c \in N} \min_{\|\delta_c\| \le \varepsilon_c}
              \sum_{i \in S_c} \ell(u_i + \delta_c, c) +
              \sum_{c \in P} \max_{\|\delta_c\| \le \varepsilon_c}
              \sum_{i \in S_c} \ell(u_i + \delta_c, c)

    In each batch the *split* says which classes are in ``P`` (positively augmented, loss
    raised) and which in ``N`` (negatively, lowered); the *bound* gives
    :math:`\varepsilon_c`; the *solver* finds :math:`\delta_c`. ``delta`` is then held
    constant while the loss is back-propagated (Algorithm 2). Classes that are absent
    from the batch play no part. :math:`\ell` is the base loss of the
    :class:`~lpl_lib.PerturbedLoss` that it is used in; alone it is cross-entropy.

    Args:
        classes: training images per class, ``(C,)``, for a long tail; or the number of
            classes ``C``, for a balanced set.
        bound: a bound such as :class:`~lpl_lib.ConfidenceBound` (Eq. 13), or a number:
            with counts the largest bound of :class:`~lpl_lib.FrequencyBound` (Eq. 14,
            from 0 up), else that of all classes (:class:`~lpl_lib.FixedBound`). In nats;
            0.5 is the smallest that this book's searches chose on top of LA.
        split: default :class:`~lpl_lib.RankSplit` with counts (Eq. 10), else
            :class:`~lpl_lib.ConfidenceSplit` (Eq. 9).
        solver: ``"l2"`` (default), ``"linf"``, ``"algorithm1"``, or a solver such as
            ``L2(steps=3)``. The same bound means something else to each.
        decay: of the running mean confidence; ``None`` uses each batch alone. See
            :class:`~lpl_lib.lpl.confidence.ClassConfidence`.
        process_group: of ``torch.distributed``, the processes that share a batch; as in
            ``nn.SyncBatchNorm``, ``None`` for all.

    Source: Eq. 8 and Algorithms 1-2 of Li et al. (arXiv 2209.05668).

    Raises:
        ValueError: an unknown solver, a negative bound, a split or bound for other classes.

    >>> lpl = LPL(3, bound=1.0, solver="linf")
    >>> logits = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> lpl(logits, torch.tensor([0, 1]))  # class 0 is learnt, class 1 is not
    tensor([[ 1., -1., -1.],
            [ 1., -1.,  1.]])
    """

    def __init__(
        self,
        classes: int | ClassCounts,
        bound: Bound | float = 0.5,
        *,
        split: Split | None = None,
        solver: Solver | str = "l2",
        decay: float | None = None,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.process_group = process_group
        given: Any = classes
        single = isinstance(classes, int | Integral)
        counts = None if single else check_class_counts(given, "classes")
        size = check_count(given, "classes") if counts is None else len(counts)
        self.num_classes = size
        if split is None:
            split = ConfidenceSplit() if counts is None else RankSplit(counts)
        if not isinstance(bound, Bound):
            top = check_number(bound, "bound")
            bound = FixedBound(top) if counts is None else FrequencyBound(counts, 0.0, top)
        self.split, self.bound, self.solver = split, bound, _solver(solver)
        self._made: tuple[Any, Any, Any] = None, None, None
        self.use_base_loss(None)
        self.confidence = ClassConfidence(size, decay)
        known = f"classes, but there are {size} classes"
        check_parts(split, bound, size, "RankSplit(class_counts)", known)

    def use_base_loss(self, base_loss: BaseLoss | None) -> None:
        inner = None if _is_cross_entropy(base_loss) else base_loss
        if isinstance(self.solver, LInf):
            self.solver.refuse(inner)
        # in a tuple: it stays the loss's own, not a part of its perturbation too
        self._base_loss = (inner,)

    @property
    def couples(self) -> bool:  # type: ignore[override]
        """By rank and in closed form no sample depends on the others of its batch."""
        learns = self.split.uses_confidence or self.bound.uses_confidence
        return learns or not isinstance(self.solver, LInf)

    @torch.no_grad()
    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits, targets, own = whole_batch(logits, targets, self.process_group)
        radii = partial(self._radii, logits, targets)
        early = isinstance(self.solver, L2) and self._base_loss[0] is None
        known: Any = radii if early else radii().index_select(0, targets)
        delta = self.solver(logits, targets, known, self.bound.largest, *self._base_loss)
        return delta if own == slice(None) else delta[own]

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        if not isinstance(self.solver, LInf):
            return super().move(logits, targets)
        shifts = self._known(-2.0)  # the rivals' equal shift changes no softmax: spare it
        if shifts is None:
            with torch.no_grad():
                batch = whole_batch(logits, targets, self.process_group)[:2]
                shifts = self._radii(*batch, scale=-2.0)
        return move_own(logits, targets, shifts.index_select(0, targets))

    def _known(self, scale: float) -> Tensor | None:
        """The signed radii times ``scale`` where no statistics are needed: made once, and
        again when something that they are made of has changed."""
        parts: Any = self._modules
        split, bound = parts["split"], parts["bound"]
        if type(split) is not RankSplit or type(bound) not in (FixedBound, FrequencyBound):
            return None
        parts = (split.signs, *bound._buffers.values())
        state = (bound.largest, scale, *[(id(part), part._version) for part in parts])
        known, _, radii = self._made
        if state != known:
            radii = scale * split(None) * bound(None, split.signs)
            if has_values(radii):
                self._made = state, parts, radii
        return radii

    def _radii(self, *batch: Any, scale: float = 1.0) -> Tensor:
        """The signed radius of each class times ``scale``, ``(C,)``."""
        if (known := self._known(scale)) is not None:
            return known
        parts: Any = self._modules  # past the slow look-up of nn.Module
        split, bound, statistics = parts["split"], parts["bound"], None
        if split.uses_confidence or bound.uses_confidence:
            statistics = parts["confidence"].forward(*batch)
            if split.threshold is not None:
                statistics = statistics._replace(threshold=split.threshold)
        signs = split.forward(statistics)
        fixed = type(bound) is FixedBound  # then a number does
        radii = signs * (bound.largest if fixed else bound.forward(statistics, signs))
        return radii if scale == 1 else scale * radii

    def class_variation(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the relative loss variation that LPL causes per class, ``(C,)``.

        See :func:`~lpl_lib.variation.class_relative_variation`; NaN for absent classes.
        Running statistics stay as they are. With several processes all must call it.
        """
        with frozen(self):
            delta = self(logits, targets)
        return class_relative_variation(logits, targets, delta)


def _is_cross_entropy(base_loss: BaseLoss | None) -> bool:
    """Whether each class's loss is a multiple of cross-entropy, solved in closed form."""
    if isinstance(base_loss, nn.CrossEntropyLoss):
        return not base_loss.label_smoothing
    return base_loss in (None, torch.nn.functional.cross_entropy)


def _solver(solver: Solver | str) -> Solver:
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]()
    if isinstance(solver, (str, type)) or not callable(solver):
        raise ValueError(
            f"solver must be one of {sorted(SOLVERS)} or a solver such as L2(), "
            f"got {solver!r}"
        )
    return solver
