"""The methods of the experiments by the name that tables show: one registry.

``A + B`` is the fusion of the two (:func:`~lpl_lib.lab.method.fuse`): ``"LA + LPL"``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

import lpl_lib.lpl as pieces
import lpl_lib.multilabel as ml
from lpl_lib.base_losses import FocalLoss, class_balanced_weights
from lpl_lib.checks import BaseLoss, Task
from lpl_lib.isda import ISDA
from lpl_lib.lab.method import Facts, Method, fuse
from lpl_lib.lab.rebalancing import ClassAwareSampler, NegativeScale, Rebalanced
from lpl_lib.lab.released import ReleasedWalk
from lpl_lib.lab.rivals import GCL, Equalization, Seesaw
from lpl_lib.lpl import LPL, Bound, RankSplit, Solver, Split
from lpl_lib.perturbations import LDAM, VS, LogitAdjustment, log_prior

COSINE_SCALE = 30.0  # of LDAM's cosine head, as in its authors' code


@dataclass(frozen=True)
class Entry:
    """A method of the registry.

    Attributes:
        make: maps the facts of a problem and hyper-parameters to a method; or a
            perturbation that is all of it, made of class counts and hyper-parameters.
        fixed: hyper-parameters that its name stands for.
        cosine: it wants a cosine head.
        corrects_prior: it makes up for the classes' unequal shares. Two of these do it
            twice.
        late: it differs from plain training at test time only.
    """

    make: Callable[..., Any]
    fixed: dict[str, Any] = field(default_factory=dict)
    cosine: bool = False
    corrects_prior: bool = False
    late: bool = False

    @property
    def parameters(self) -> list[str]:
        """The names of the hyper-parameters that are left to choose."""
        names = list(inspect.signature(self.make).parameters)[1:]
        return [name for name in names if name not in self.fixed]

    def build(self, facts: Facts, **parameters: Any) -> Method:
        """Return the method with these hyper-parameters."""
        if isinstance(self.make, type):
            return Method(self.make(facts.counts, **self.fixed, **parameters))
        return self.make(facts, **self.fixed, **parameters)


def plain(facts: Facts) -> Method:
    """Plain cross-entropy, of several labels a mean over images and labels."""
    return Method()


def focal(facts: Facts, gamma: float = 1.0) -> Method:
    """:class:`~lpl_lib.FocalLoss`."""
    return Method(base=partial(FocalLoss, gamma))


def smoothing(facts: Facts, smoothing: float = 0.1) -> Method:
    """Label smoothing."""
    smoothed = partial(nn.CrossEntropyLoss, label_smoothing=smoothing)
    return Method(base=smoothed)


def class_balanced(facts: Facts, beta: float = 0.9999) -> Method:
    """:func:`~lpl_lib.class_balanced_weights`."""
    return Method(weight=class_balanced_weights(facts.counts, beta))


def ldam_drw(
    facts: Facts, max_margin: float = 0.5, beta: float = 0.9999, start: float = 0.8
) -> Method:
    """LDAM with class weights from a share ``start`` of training on (deferred)."""
    weights = class_balanced_weights(facts.counts, beta)
    base: Any = nn.CrossEntropyLoss(torch.ones_like(weights))

    def at_epoch(share: float) -> None:
        # the margin for a rounding error of epoch / epochs
        deferred = share < start - 1e-9
        base.weight.copy_(torch.ones_like(weights) if deferred else weights)

    margins = LDAM(facts.counts, max_margin, COSINE_SCALE)
    return Method(margins, _alone(base), at_epoch=(at_epoch,))


def _alone(base: BaseLoss) -> Callable[[Tensor | None], BaseLoss]:
    """A base loss that takes no class weights."""

    def make(weight: Tensor | None) -> BaseLoss:
        if weight is not None:
            raise ValueError(f"class weights do not fuse with {type(base).__name__} here")
        return base

    return make


def margin_adjustment(facts: Facts, tau: float = 1.0, share: float = -0.5) -> Method:
    """LA whose own logit is shifted by ``share`` of the smallest ``pi ** tau``, > -1."""
    least = (facts.counts / facts.counts.sum()).min() ** tau
    return Method(LogitAdjustment(facts.counts, tau, share * float(least)))


def posthoc_adjustment(facts: Facts, tau: float = 1.0) -> Method:
    """Plain training; ``tau log pi`` is taken off the test logits."""
    return Method(posthoc=tau * log_prior(facts.counts).float())


def isda(facts: Facts, strength: float = 0.5) -> Method:
    """:class:`~lpl_lib.ISDA`, its strength raised linearly from 0 during training."""
    augmented = ISDA(facts.head, strength)

    def at_epoch(share: float) -> None:
        augmented.strength = strength * share

    return Method(augmented, at_epoch=(at_epoch,))


def lpl(
    facts: Facts,
    epsilon: float = 0.0,
    extra: float = 0.5,
    solver: str = "l2",
    split: Literal["rank", "reversed", "confidence"] | None = None,
    num_head: int | None = None,
    threshold: float | None = None,
    only: Literal["raised", "lowered"] | None = None,
    step_size: float = 0.1,
) -> Method:
    """:class:`~lpl_lib.LPL` with bounds from ``epsilon`` up to ``epsilon + extra``.

    By frequency (Eq. 14) if classes are split by rank, by confidence (Eq. 13) else; with
    ``extra = 0`` all classes have the same bound.

    Args:
        facts: of the problem; ``split`` and ``threshold`` may say otherwise.
        epsilon, extra: the bound, in nats.
        solver: ``"l2"``, ``"linf"`` or ``"algorithm1"`` (with ``step_size``).
        split: ``"reversed"`` raises the ``num_head`` most frequent classes.
        num_head: how many classes are the head, if classes are split by rank.
        threshold: of the confidence; ``None`` takes the mean over classes.
        only: the side, of a split by rank, that is moved; ``None`` moves both.
        step_size: of Algorithm 1.
    """
    counts, by = facts.counts, split or facts.split
    bound: Bound = pieces.FixedBound(epsilon)
    if by == "confidence":
        division: Split = pieces.ConfidenceSplit(threshold)
        if extra:
            bound = pieces.ConfidenceBound(epsilon, extra)
    else:
        division = rank = RankSplit(counts, num_head)
        if by == "reversed":  # the rarest are lowered
            raised_ones = int((rank.signs < 0).sum())
            division = rank = RankSplit(1 / counts, len(counts) - raised_ones)
        if only:
            low, high = (0, 1) if only == "raised" else (-1, 0)
            rank.signs.clamp_(low, high)
        if extra:
            bound = pieces.FrequencyBound(counts, epsilon, extra)
    ours: dict[str, Solver] = {"algorithm1": pieces.Algorithm1(step_size)}
    chosen = ours.get(solver, solver)
    return Method(LPL(len(counts), bound, split=division, solver=chosen))


def learned_split(facts: Facts, epsilon: float = 1.0) -> Method:
    """LPL whose split is learned with a meta set, :mod:`lpl_lib.lab.meta_split`."""
    from lpl_lib.lab.meta_split import LookAhead, learned_lpl

    if facts.meta is None:
        raise ValueError("meta must be a set to learn the split with: data.meta = 5")
    perturbation = learned_lpl(len(facts.counts), epsilon)
    return Method(perturbation, hook=LookAhead(perturbation, facts.meta))


def balanced_sampling(facts: Facts) -> Method:
    """Samples drawn so that all classes are equally likely."""
    weights = 1 / facts.counts.float()

    def order(targets: Tensor, draw: torch.Generator) -> Tensor:
        size = len(targets)
        return torch.multinomial(weights[targets], size, replacement=True, generator=draw)

    return Method(sampler=order)


def mix_up(facts: Facts, alpha: float = 0.2) -> Method:
    """Mix-up of Zhang et al. 2018, by timm."""
    return Method(mixup=alpha)


def asl(facts: Facts, gamma_negative: float = 4.0, gamma_positive: float = 1.0) -> Method:
    """:class:`~lpl_lib.AsymmetricLoss`."""
    return Method(base=_alone(ml.AsymmetricLoss(gamma_negative, gamma_positive)))


def class_aware(targets: Tensor, draw: torch.Generator) -> Tensor:
    """Order of a :class:`~lpl_lib.lab.rebalancing.ClassAwareSampler` of as many images."""
    seed = int(torch.randint(2**31, (), generator=draw))
    sampler = ClassAwareSampler(targets, length=len(targets), seed=seed)
    return torch.tensor([*sampler])


def label_adjustment(facts: Facts, tau: float = 1.0) -> Method:
    """:class:`~lpl_lib.MultilabelLogitAdjustment`."""
    return Method(ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, tau))


def balanced_focal(
    facts: Facts, kappa: float = 0.05, scale: float = 5.0, mu: float = 0.3
) -> Method:
    """The distribution-balanced focal loss: a bias (negative-tolerant), ``NegativeScale``,
    re-balanced, with class-aware sampling."""
    shift = ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, kappa / scale)
    focal = NegativeScale(ml.MultilabelFocalLoss(gamma=2.0, balance=2.0), scale)
    base = Rebalanced(facts.counts, focal, mu=mu)
    return Method(shift, _alone(base), sampler=class_aware)


def label_lpl(facts: Facts, majority: float = 1.0, minority: float = 0.0) -> Method:
    """:class:`~lpl_lib.MultilabelLPL` with :class:`~lpl_lib.multilabel.PriorBound`."""
    facts_of = facts.counts, facts.num_samples
    bound = ml.PriorBound(*facts_of, majority, minority)
    return Method(ml.MultilabelLPL(*facts_of, bound=bound))


_COLUMNS = {"norms": "columns"}

METHODS: dict[Task, dict[str, Entry]] = {
    "multiclass": {
        "cross-entropy": Entry(plain),
        "focal loss": Entry(focal),
        "label smoothing": Entry(smoothing),
        "class-balanced weights": Entry(class_balanced, corrects_prior=True),
        "balanced sampling": Entry(balanced_sampling, corrects_prior=True),
        "mix-up": Entry(mix_up),
        "LDAM": Entry(LDAM, {"scale": COSINE_SCALE}, cosine=True),
        "LDAM, linear head": Entry(LDAM, {"scale": 1.0}),
        "LDAM-DRW": Entry(ldam_drw, cosine=True),
        "LA": Entry(LogitAdjustment, {"shift": 0.0}, corrects_prior=True),
        "LA with a margin": Entry(margin_adjustment, corrects_prior=True),
        "post-hoc LA": Entry(posthoc_adjustment, corrects_prior=True, late=True),
        "VS": Entry(VS, corrects_prior=True),
        "equalization": Entry(Equalization, corrects_prior=True),
        "seesaw": Entry(Seesaw, corrects_prior=True),
        "GCL": Entry(GCL, {"scale": COSINE_SCALE}, cosine=True, corrects_prior=True),
        "ISDA": Entry(isda),
        "LPL": Entry(lpl),
        "LPL, fixed": Entry(lpl, {"extra": 0.0}),
        "LPL, max norm": Entry(lpl, {"solver": "linf"}),
        "LPL, by confidence": Entry(
            lpl, {"extra": 0.0, "split": "confidence", "solver": "linf"}
        ),
        "LPL, learned": Entry(learned_split),
        "released walk": Entry(ReleasedWalk, {"norms": "rows", "through": False}),
        "released walk, columns": Entry(ReleasedWalk, _COLUMNS | {"through": False}),
        "released walk, columns, through": Entry(
            ReleasedWalk, _COLUMNS | {"through": True}
        ),
    },
    "multilabel": {
        "BCE": Entry(plain),
        "ASL": Entry(asl),
        "LA": Entry(label_adjustment, corrects_prior=True),
        "DB-Focal": Entry(balanced_focal),
        "LPL": Entry(label_lpl),
    },
}
"""All methods by task and name; sums of them, ``A + B``, are methods too.

LPL varies its bounds and is solved by ``"l2"`` where the name does not say otherwise; the
walks are those of chapter 17.
"""


def parts_of(name: str, task: Task = "multiclass") -> dict[str, Entry]:
    """Return the entries that a name stands for, ``"LA + LPL"`` those of LA and LPL.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    known = METHODS[task]
    names = name.split(" + ")
    for part in names:
        if part not in known:
            raise ValueError(
                f"method must be one of {list(known)}, or several joined by ' + ', got "
                f"{name!r}"
            )
    return {part: known[part] for part in names}


def trained_part(name: str, task: Task = "multiclass") -> str:
    """Return the method without what plays no part in its training.

    >>> trained_part("post-hoc LA + LPL"), trained_part("post-hoc LA")
    ('LPL', 'cross-entropy')
    """
    plain = next(iter(METHODS[task]))  # adds nothing to others
    found = parts_of(name, task).items()
    return " + ".join(p for p, entry in found if not entry.late and p != plain) or plain


def hyper_parameters(name: str, task: Task = "multiclass") -> list[str]:
    """Return the names of a method's hyper-parameters.

    >>> hyper_parameters("LA + VS")
    ['tau', 'gamma']
    """
    entries = parts_of(name, task).values()
    return list(dict.fromkeys(p for entry in entries for p in entry.parameters))


def check_parameters(name: str, parameters: Iterable[str], task: Task) -> None:
    """Raise a ``ValueError`` if a method is unknown or has not these hyper-parameters."""
    known = hyper_parameters(name, task)
    for parameter in parameters:
        if parameter not in known:
            raise ValueError(
                f"method {name!r} has no hyper-parameter {parameter!r}: it has {known}"
            )


def build_method(
    name: str, facts: Facts, task: Task = "multiclass", **parameters: Any
) -> Method:
    """Return a method.

    Args:
        name: of :data:`METHODS`, or several joined by ``" + "``.
        facts: what it may know of the problem.
        task: of the problem.
        parameters: its hyper-parameters, as in what :data:`METHODS` names; each part
            takes those that it has.

    Raises:
        ValueError: an unknown name or hyper-parameter (the known ones are listed), or
            one out of range.

    >>> facts = Facts(torch.tensor([90, 10]))
    >>> build_method("post-hoc LA", facts, tau=0.5).posthoc
    tensor([-0.0527, -1.1513])
    >>> build_method("LA", facts, taw=0.5)
    Traceback (most recent call last):
    ...
    ValueError: method 'LA' has no hyper-parameter 'taw': it has ['tau']
    """
    check_parameters(name, parameters, task)
    made = []
    for entry in parts_of(name, task).values():
        own = {p: v for p, v in parameters.items() if p in entry.parameters}
        made.append(entry.build(facts, **own))
    return fuse(made, task)
