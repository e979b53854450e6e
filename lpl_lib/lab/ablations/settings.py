"""What is varied in an ablation of LPL, and the loss that a choice stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lpl_lib.lab.ablations.attached import AttachedLPL
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import (
    LPL,
    Algorithm1,
    Bound,
    ClassStatistics,
    ConfidenceBound,
    ConfidenceSplit,
    FrequencyBound,
    RankSplit,
    Solver,
    Split,
)
from lpl_lib.perturbations import LogitAdjustment, Perturbation

STEP = 0.25  # alpha of Algorithm 1, in nats


@dataclass(frozen=True)
class Setting:
    """One way to run LPL on a long-tailed problem; the defaults are the point of departure.

    Attributes:
        ratio: largest over smallest class of the training set.
        epsilon: bound that all classes have, in nats, >= 0; with ``extra=0`` it is fixed.
        extra: what is added to some classes' bounds at most (varied bounds), >= 0.
        raised: factor on the bounds of the classes whose loss is raised; 0 leaves the
            minimisation alone.
        lowered: factor on the bounds of the classes whose loss is lowered.
        split: ``"rank"`` (Eq. 10), ``"confidence"`` (Eq. 9), or ``"reversed"``: the
            ``num_head`` most frequent classes are raised and the others lowered.
        num_head: how many classes are the head, if classes are split by rank.
        threshold: of the confidence; ``None`` takes the mean over classes.
        decay: of the running confidence; ``None`` takes each batch by itself.
        solver: ``"l2"``, ``"linf"``, ``"pgd"`` or ``"algorithm1"`` (with steps of 0.25).
        attached: whether the gradient flows through ``delta`` too.
        batch_size: images a step.
        adjusted: logits are adjusted by the log frequencies first (LA, Eq. 15).
    """

    ratio: int = 100
    epsilon: float = 0.0
    extra: float = 0.0
    raised: float = 1.0
    lowered: float = 1.0
    split: Literal["rank", "confidence", "reversed"] = "rank"
    num_head: int = 4
    threshold: float | None = None
    decay: float | None = None
    solver: Literal["l2", "linf", "pgd", "algorithm1"] = "l2"
    attached: bool = False
    batch_size: int = 64
    adjusted: bool = False


class SidedBound(Bound):
    """Another bound, times one factor for the raised and one for the lowered classes.

    Args:
        bound: of all classes.
        raised, lowered: factors, >= 0, for signs +1 and -1.

    >>> from lpl_lib import FixedBound
    >>> SidedBound(FixedBound(2.0), raised=1.0, lowered=0.0)(None, torch.tensor([1., -1.]))
    tensor([2., 0.])
    """

    def __init__(self, bound: Bound, raised: float, lowered: float) -> None:
        super().__init__()
        self.bound, self.raised, self.lowered = bound, raised, lowered
        self.num_classes = bound.num_classes
        self.uses_confidence = bound.uses_confidence
        self.largest = bound.largest * max(raised, lowered)

    def forward(self, statistics: ClassStatistics, signs: Tensor) -> Tensor:
        factor = torch.where(signs > 0, self.raised, self.lowered)
        return self.bound(statistics, signs) * factor


def loss_of(setting: Setting, counts: Tensor) -> PerturbedLoss:
    """Return the training loss of a setting, for ``counts`` images per class, ``(C,)``.

    With bounds of 0 it is plain cross-entropy, or LA.

    >>> loss_of(Setting(epsilon=2.0), torch.tensor([9, 1, 1, 1])).perturbation.bound.largest
    2.0
    """
    if setting.epsilon == setting.extra == 0:
        perturbation = None
    else:
        solver: Solver | str = setting.solver
        kind = AttachedLPL if setting.attached else LPL
        perturbation = kind(
            len(counts),
            _split(setting, counts),
            SidedBound(_bound(setting, counts), setting.raised, setting.lowered),
            Algorithm1(STEP) if solver == "algorithm1" else solver,
            setting.decay,
        )
    return PerturbedLoss(_with_adjustment(setting, counts, perturbation))


def _split(setting: Setting, counts: Tensor) -> Split:
    if setting.split == "confidence":
        return ConfidenceSplit(setting.threshold)
    if setting.split == "reversed":
        others = len(counts) - setting.num_head
        return RankSplit(1 / counts, others)  # the rarest are lowered
    return RankSplit(counts, setting.num_head)


def _bound(setting: Setting, counts: Tensor) -> Bound:
    """Eq. 13 or Eq. 14: by confidence or by frequency, as the split is."""
    if setting.split == "confidence":
        return ConfidenceBound(setting.epsilon, setting.extra, setting.threshold)
    return FrequencyBound(counts, setting.epsilon, setting.extra)


def _with_adjustment(
    setting: Setting, counts: Tensor, perturbation: Perturbation | None
) -> Perturbation | None:
    if not setting.adjusted:
        return perturbation
    adjustment = LogitAdjustment(counts)
    return adjustment if perturbation is None else adjustment + perturbation
