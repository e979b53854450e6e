"""The methods of the comparison by name: what each adds to one common training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lpl_lib.base_losses import FocalLoss, class_balanced_weights
from lpl_lib.isda import ISDA
from lpl_lib.lab.released import Norms, ReleasedWalk
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import (
    LPL,
    Algorithm1,
    Bound,
    ConfidenceBound,
    FixedBound,
    FrequencyBound,
    RankSplit,
)
from lpl_lib.perturbations import LDAM, VS, LogitAdjustment, Perturbation, log_prior

SplitName = Literal["rank", "confidence"]
SolverName = Literal["l2", "linf", "algorithm1"]


# the engine looks at the loss of each epoch: no need to look at each batch
_loss = partial(PerturbedLoss, check_values=False)


def _nothing(share: float) -> None:
    """The schedule of a method that stays the same throughout."""


@dataclass(frozen=True)
class Method:
    """What a method changes in training and at test time.

    Attributes:
        criterion: the training loss.
        cosine_scale: scale of a cosine head, ``None`` for a linear one.
        posthoc: ``(C,)``, subtracted from the test logits; ``None`` for nothing.
        at_epoch: called before each epoch with the share of training done, in [0, 1).
    """

    criterion: PerturbedLoss
    cosine_scale: float | None = None
    posthoc: Tensor | None = None
    at_epoch: Callable[[float], None] = field(default=_nothing)


@dataclass(frozen=True)
class Classes:
    """What a method may know of its problem.

    Attributes:
        counts: training images per class, ``(C,)``.
        num_features: ``A``, width of the last layer's input.
        split: how LPL divides the classes: ``"rank"`` (Eq. 10, long-tail sets) or
            ``"confidence"`` (Eq. 9, balanced sets).
    """

    counts: Tensor
    num_features: int
    split: SplitName = "rank"


def cross_entropy(classes: Classes) -> Method:
    """Plain cross-entropy."""
    return Method(_loss())


def focal(classes: Classes, gamma: float = 1.0) -> Method:
    """:class:`~lpl_lib.base_losses.FocalLoss`."""
    return Method(_loss(base_loss=FocalLoss(gamma)))


def class_balanced(classes: Classes, beta: float = 0.9999) -> Method:
    """Cross-entropy with :func:`~lpl_lib.base_losses.class_balanced_weights`."""
    weights = class_balanced_weights(classes.counts, beta)
    return Method(_loss(base_loss=nn.CrossEntropyLoss(weights)))


def ldam(classes: Classes, max_margin: float = 0.5, scale: float = 30.0) -> Method:
    """:class:`~lpl_lib.LDAM` on a cosine head."""
    margins = LDAM(classes.counts, max_margin, scale)
    return Method(_loss(margins), cosine_scale=scale)


def ldam_drw(
    classes: Classes,
    max_margin: float = 0.5,
    scale: float = 30.0,
    beta: float = 0.9999,
    start: float = 0.8,
) -> Method:
    """LDAM with class weights from a share ``start`` of training on (deferred)."""
    weights = class_balanced_weights(classes.counts, beta)
    base: Any = nn.CrossEntropyLoss(torch.ones_like(weights))

    def at_epoch(share: float) -> None:
        # the margin for a rounding error of epoch / epochs
        deferred = share < start - 1e-9
        base.weight.copy_(torch.ones_like(weights) if deferred else weights)

    margins = LDAM(classes.counts, max_margin, scale)
    return Method(_loss(margins, base), cosine_scale=scale, at_epoch=at_epoch)


def logit_adjustment(classes: Classes, tau: float = 1.0) -> Method:
    """:class:`~lpl_lib.LogitAdjustment` in training."""
    return Method(_loss(LogitAdjustment(classes.counts, tau)))


def logit_adjustment_posthoc(classes: Classes, tau: float = 1.0) -> Method:
    """Plain training; ``tau log pi`` is taken off the test logits."""
    return Method(_loss(), posthoc=tau * log_prior(classes.counts).float())


def balanced_softmax(classes: Classes) -> Method:
    """``log n`` added to the logits: logit adjustment with ``tau = 1``."""
    return Method(_loss(LogitAdjustment(classes.counts)))


def vector_scaling(classes: Classes, gamma: float = 0.2, tau: float = 1.0) -> Method:
    """:class:`~lpl_lib.VS`."""
    return Method(_loss(VS(classes.counts, gamma, tau)))


def isda(classes: Classes, strength: float = 0.5) -> Method:
    """:class:`~lpl_lib.ISDA`, its strength raised linearly from 0 during training."""
    return _with_isda(classes, strength, None)


def lpl_fixed(
    classes: Classes,
    epsilon: float = 0.0,
    num_head: int | None = None,
    step_size: float = 0.1,
    *,
    solver: SolverName = "l2",
) -> Method:
    """:class:`~lpl_lib.LPL` alone, with the same bound ``epsilon`` for all classes.

    ``num_head`` belongs to the split by rank, ``step_size`` to Algorithm 1.
    """
    bound = FixedBound(epsilon)
    return Method(_loss(_lpl(classes, bound, num_head, solver, step_size)))


def lpl_varied(
    classes: Classes,
    epsilon: float = 0.0,
    extra: float = 0.0,
    num_head: int | None = None,
    step_size: float = 0.1,
    *,
    solver: SolverName = "l2",
) -> Method:
    """:class:`~lpl_lib.LPL` alone, with bounds from ``epsilon`` up to ``epsilon + extra``:
    by frequency (Eq. 14) if classes are split by rank, by confidence (Eq. 13) else."""
    bound = _varied(classes, epsilon, extra)
    return Method(_loss(_lpl(classes, bound, num_head, solver, step_size)))


def la_lpl(
    classes: Classes,
    tau: float = 1.0,
    epsilon: float = 0.0,
    extra: float = 0.0,
    num_head: int | None = None,
) -> Method:
    """Logit adjustment, and LPL learned on the adjusted logits (Eq. 15)."""
    adjusted = LogitAdjustment(classes.counts, tau)
    return Method(
        _loss(adjusted + _lpl(classes, _varied(classes, epsilon, extra), num_head))
    )


def ldam_lpl(
    classes: Classes,
    max_margin: float = 0.5,
    scale: float = 30.0,
    epsilon: float = 0.0,
    extra: float = 0.0,
    num_head: int | None = None,
) -> Method:
    """LDAM on a cosine head, and LPL learned on logits less the margin."""
    margins = LDAM(classes.counts, max_margin, scale)
    both = margins + _lpl(classes, _varied(classes, epsilon, extra), num_head)
    return Method(_loss(both), cosine_scale=scale)


def isda_lpl(
    classes: Classes,
    strength: float = 0.5,
    epsilon: float = 0.0,
    extra: float = 0.0,
    num_head: int | None = None,
) -> Method:
    """ISDA, and LPL learned on its logits."""
    return _with_isda(
        classes, strength, _lpl(classes, _varied(classes, epsilon, extra), num_head)
    )


def released(
    classes: Classes,
    extra: float = 0.0,
    step_size: float = 0.25,
    *,
    norms: Norms = "rows",
    through: bool = False,
) -> Method:
    """:class:`~lpl_lib.lab.released.ReleasedWalk`, of chapter 14."""
    walk = ReleasedWalk(classes.counts, extra, step_size, norms=norms, through=through)
    return Method(_loss(walk))


METHODS: dict[str, Callable[..., Method]] = {
    "ce": cross_entropy,
    "focal": focal,
    "class-balanced": class_balanced,
    "ldam": ldam,
    "ldam-drw": ldam_drw,
    "la": logit_adjustment,
    "la-posthoc": logit_adjustment_posthoc,
    "balanced-softmax": balanced_softmax,
    "vs": vector_scaling,
    "isda": isda,
    "lpl-fixed": lpl_fixed,
    "lpl-varied": lpl_varied,
    "lpl-fixed-linf": partial(lpl_fixed, solver="linf"),
    "lpl-varied-linf": partial(lpl_varied, solver="linf"),
    "lpl-fixed-algorithm1": partial(lpl_fixed, solver="algorithm1"),
    "lpl-varied-algorithm1": partial(lpl_varied, solver="algorithm1"),
    "la+lpl": la_lpl,
    "ldam+lpl": ldam_lpl,
    "isda+lpl": isda_lpl,
    "walk": released,
    "walk-columns": partial(released, norms="columns"),
    "walk-columns-through": partial(released, norms="columns", through=True),
}
"""All methods by name. LPL is solved by ``"l2"`` where the name does not say otherwise;
the walks are those of chapter 14."""

TRAINS_AS = {"la-posthoc": "ce"}
"""Methods that differ from another at test time only, with the one they are trained as."""


def build_method(name: str, classes: Classes, **parameters: Any) -> Method:
    """Return a method.

    Args:
        name: one of :data:`METHODS`.
        classes: what it may know of the problem.
        parameters: its hyper-parameters, as in the function that :data:`METHODS` names.

    Raises:
        ValueError: an unknown name or hyper-parameter (the known ones are listed), or
            one out of range.

    >>> classes = Classes(torch.tensor([90, 10]), num_features=4)
    >>> build_method("la-posthoc", classes, tau=0.5).posthoc
    tensor([-0.0527, -1.1513])
    >>> build_method("la", classes, taw=0.5)
    Traceback (most recent call last):
    ...
    ValueError: method 'la' has no hyper-parameter 'taw': it has ['tau']
    """
    known = hyper_parameters(name)
    for parameter in parameters:
        if parameter not in known:
            raise ValueError(
                f"method {name!r} has no hyper-parameter {parameter!r}: it has {known}"
            )
    return METHODS[name](classes, **parameters)


def hyper_parameters(name: str) -> list[str]:
    """Return the names of a method's hyper-parameters.

    >>> hyper_parameters("vs")
    ['gamma', 'tau']
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}, got {name!r}")
    signature = inspect.signature(METHODS[name])
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [p.name for p in signature.parameters.values() if p.kind == positional][1:]


def _varied(classes: Classes, epsilon: float, extra: float) -> Bound:
    if classes.split == "rank":
        return FrequencyBound(classes.counts, epsilon, extra)
    return ConfidenceBound(epsilon, extra)


def _lpl(
    classes: Classes,
    bound: Bound,
    num_head: int | None,
    solver: SolverName = "l2",
    step_size: float = 0.1,
) -> LPL:
    by_rank = classes.split == "rank"
    return LPL(
        len(classes.counts),
        RankSplit(classes.counts, num_head) if by_rank else None,
        bound,
        Algorithm1(step_size) if solver == "algorithm1" else solver,
    )


def _with_isda(classes: Classes, strength: float, then: Perturbation | None) -> Method:
    augmented = ISDA(len(classes.counts), classes.num_features, strength)

    def at_epoch(share: float) -> None:
        augmented.strength = strength * share

    perturbation = augmented if then is None else augmented + then
    return Method(_loss(perturbation), at_epoch=at_epoch)
