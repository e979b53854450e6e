"""The methods for several labels, by what they change in a training run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import lpl_lib.multilabel as ml
from lpl_lib.lab.method import Facts, Method
from lpl_lib.lab.rebalancing import ClassAwareSampler, NegativeScale, Rebalanced

BALANCED_FOCAL = ml.MultilabelFocalLoss(gamma=2.0, balance=2.0)


def bce(facts: Facts) -> Method:
    """Binary cross-entropy, a mean over images and labels."""
    return Method(task="multilabel")


def label_focal(facts: Facts, gamma: float = 2.0) -> Method:
    """:class:`~lpl_lib.MultilabelFocalLoss`."""
    return Method(base_loss=ml.MultilabelFocalLoss(gamma), task="multilabel")


def asl(facts: Facts, gamma_negative: float = 4.0, gamma_positive: float = 1.0) -> Method:
    """:class:`~lpl_lib.AsymmetricLoss`."""
    loss = ml.AsymmetricLoss(gamma_negative, gamma_positive)
    return Method(base_loss=loss, task="multilabel")


def class_aware(facts: Facts) -> Method:
    """BCE with a :class:`~lpl_lib.lab.rebalancing.ClassAwareSampler` of as many images."""

    def order(targets: Tensor, draw: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=draw))
        # the loop shares each batch out itself
        whole: Any = {"length": len(targets), "seed": seed, "num_replicas": 1, "rank": 0}
        return torch.tensor([*ClassAwareSampler(targets, **whole)])

    return Method(sampler=order, task="multilabel")


def rebalanced(facts: Facts, mu: float = 0.3) -> Method:
    """Re-balanced BCE with class-aware sampling."""
    loss = Rebalanced(facts.counts, mu=mu)
    sampler = class_aware(facts).sampler
    return Method(base_loss=loss, sampler=sampler, task="multilabel")


def label_adjustment(facts: Facts, tau: float = 1.0) -> Method:
    """:class:`~lpl_lib.MultilabelLogitAdjustment`."""
    shift = ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, tau)
    return Method(shift, task="multilabel")


def tolerant(
    facts: Facts, kappa: float = 0.05, scale: float = 5.0, loss: ml.LabelLoss | None = None
) -> Method:
    """Negative-tolerant regularisation: a bias and ``NegativeScale``."""
    shift = ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, kappa / scale)
    base = NegativeScale(loss or ml.BCELoss(), scale)
    return Method(shift, base_loss=base, task="multilabel")


def distribution_balanced(
    facts: Facts,
    kappa: float = 0.05,
    scale: float = 5.0,
    mu: float = 0.3,
    loss: ml.LabelLoss | None = None,
) -> Method:
    """The distribution-balanced loss: NTR, re-balanced, with class-aware sampling."""
    part = tolerant(facts, kappa, scale, loss)
    base: Any = part.base_loss
    return Method(
        part.perturbation,
        base_loss=Rebalanced(facts.counts, base, mu=mu),
        sampler=class_aware(facts).sampler,
        task="multilabel",
    )


def label_lpl(facts: Facts, majority: float = 1.0, minority: float = 0.0) -> Method:
    """:class:`~lpl_lib.MultilabelLPL` with :class:`~lpl_lib.multilabel.PriorBound`."""
    facts_of = facts.counts, facts.num_samples
    bound = ml.PriorBound(*facts_of, majority, minority)
    return Method(ml.MultilabelLPL(*facts_of, bound=bound), task="multilabel")
