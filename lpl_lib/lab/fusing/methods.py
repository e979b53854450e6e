"""The usual remedies for a long tail, each as what it changes in a training run.

A training run has a few places where a method can take hold: the logits (perturbations),
the base loss, the weights of the classes, the choice of the samples, the images (mixing),
and the logits at test time. Methods that take hold at different places fuse by doing
both. At one place, perturbations add and mixers take turns; two base losses do not fuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from lpl_lib.base_losses import FocalLoss
from lpl_lib.checks import BaseLoss
from lpl_lib.isda import ISDA
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import LPL, FrequencyBound, RankSplit
from lpl_lib.perturbations import LDAM, VS, LogitAdjustment, Perturbation


@dataclass(frozen=True)
class Method:
    """What a method changes in a training run; the defaults change nothing.

    Attributes:
        perturb: makes a perturbation from class counts ``(C,)``, the width of the
            features, and the base loss (``None`` for cross-entropy).
        gamma: exponent of the focal loss, >= 0.
        smoothing: label smoothing, in [0, 1).
        weighted: weight classes by their inverse frequency.
        balanced: draw samples so that all classes are equally likely.
        mixers: ``"mix-up"``, ``"CutMix"``.
        post_hoc: subtract ``log pi`` from the logits at test time.
        corrects_prior: it makes up for the classes' unequal shares. Two of these do it
            twice.
    """

    perturb: tuple[Callable[[Tensor, int, BaseLoss | None], Perturbation], ...] = ()
    gamma: float = 0.0
    smoothing: float = 0.0
    weighted: bool = False
    balanced: bool = False
    mixers: tuple[str, ...] = ()
    post_hoc: bool = False
    corrects_prior: bool = False

    def base_loss(self, class_counts: Tensor) -> BaseLoss | None:
        """Return the base loss, a mean; ``None`` for plain cross-entropy."""
        weight = inverse_frequency(class_counts) if self.weighted else None
        if self.gamma:
            return FocalLoss(self.gamma, weight)
        if self.weighted or self.smoothing:
            return nn.CrossEntropyLoss(weight, label_smoothing=self.smoothing)
        return None

    def criterion(self, class_counts: Tensor, num_features: int) -> PerturbedLoss:
        """Return the loss of a training run with these class counts ``(C,)``."""
        base = self.base_loss(class_counts)
        parts = [make(class_counts, num_features, base) for make in self.perturb]
        total: Perturbation | None = None
        for part in parts:
            total = part if total is None else total + part
        return PerturbedLoss(total, base)


def inverse_frequency(class_counts: Tensor) -> Tensor:
    """Return weights ``N / (C n_c)``, ``(C,)``, whose mean over the samples is 1.

    >>> inverse_frequency(torch.tensor([3, 1]))
    tensor([0.6667, 2.0000])
    """
    counts = class_counts.float()
    return counts.sum() / (len(counts) * counts)


def lpl(extra: float, solver: str = "l2") -> Method:
    r"""Return LPL as in chapter 8: split by rank, bounds by frequency up to ``extra``.

    It raises and lowers the loss that is trained. ``"linf"`` knows cross-entropy only,
    and keeps to it; for the focal loss, which falls as :math:`p_y` rises just as
    cross-entropy does, its solution is the same.
    """

    def make(counts: Tensor, num_features: int, base: BaseLoss | None) -> Perturbation:
        bound = FrequencyBound(counts, epsilon=0.0, extra=extra)
        inner = None if solver == "linf" else base
        return LPL(len(counts), RankSplit(counts), bound, solver, base_loss=inner)

    return Method(perturb=(make,))


METHODS: dict[str, Method] = {
    "cross-entropy": Method(),
    "LA": Method(perturb=(lambda n, a, base: LogitAdjustment(n),), corrects_prior=True),
    "LDAM": Method(perturb=(lambda n, a, base: LDAM(n),)),
    "VS": Method(perturb=(lambda n, a, base: VS(n),), corrects_prior=True),
    "ISDA": Method(perturb=(lambda n, a, base: ISDA(len(n), a),)),
    "focal loss": Method(gamma=2.0),
    "label smoothing": Method(smoothing=0.1),
    "mix-up": Method(mixers=("mix-up",)),
    "CutMix": Method(mixers=("CutMix",)),
    "balanced sampling": Method(balanced=True, corrects_prior=True),
    "class weights": Method(weighted=True, corrects_prior=True),
    "post-hoc LA": Method(post_hoc=True, corrects_prior=True),
    "LPL linf": lpl(1.0, "linf"),
    "LPL l2": lpl(1.0, "l2"),
}
"""The methods by name, with the settings of their authors: LDAM's margin 0.5 (at scale
1), VS's gamma 0.3, ISDA's strength 0.5, focal's gamma 2, smoothing 0.1."""


def fuse(methods: Sequence[Method]) -> Method:
    """Return the method that does all of these, perturbations in the order given.

    Raises:
        ValueError: two base losses.

    >>> both = fuse([METHODS["LA"], METHODS["focal loss"]])
    >>> len(both.perturb), both.gamma
    (1, 2.0)
    >>> fuse([METHODS["label smoothing"], METHODS["focal loss"]])
    Traceback (most recent call last):
    ...
    ValueError: focal loss and label smoothing are two base losses: ...
    """
    gamma = max((method.gamma for method in methods), default=0.0)
    smoothing = max((method.smoothing for method in methods), default=0.0)
    if gamma and smoothing:
        raise ValueError(
            "focal loss and label smoothing are two base losses: a run has one, and "
            "which of their products is meant would have to be said"
        )
    return Method(
        perturb=tuple(make for method in methods for make in method.perturb),
        gamma=gamma,
        smoothing=smoothing,
        weighted=any(method.weighted for method in methods),
        balanced=any(method.balanced for method in methods),
        mixers=tuple(dict.fromkeys(m for method in methods for m in method.mixers)),
        post_hoc=any(method.post_hoc for method in methods),
        corrects_prior=any(method.corrects_prior for method in methods),
    )
