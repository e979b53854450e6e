"""The methods for several labels, by what they change in a training run."""

from __future__ import annotations

import torch
from torch import Tensor

import lpl_lib.multilabel as ml
from lpl_lib.lab.method import Facts, Method
from lpl_lib.lab.rebalancing import ClassAwareSampler, NegativeScale, Rebalanced


def bce(facts: Facts) -> Method:
    """Binary cross-entropy, a mean over images and labels."""
    return Method(task="multilabel")


def asl(facts: Facts, gamma_negative: float = 4.0, gamma_positive: float = 1.0) -> Method:
    """:class:`~lpl_lib.AsymmetricLoss`."""
    loss = ml.AsymmetricLoss(gamma_negative, gamma_positive)
    return Method(base_loss=loss, task="multilabel")


def class_aware(targets: Tensor, draw: torch.Generator) -> Tensor:
    """Order of a :class:`~lpl_lib.lab.rebalancing.ClassAwareSampler` of as many images."""
    seed = int(torch.randint(2**31, (), generator=draw))
    sampler = ClassAwareSampler(targets, length=len(targets), seed=seed)
    return torch.tensor([*sampler])


def label_adjustment(facts: Facts, tau: float = 1.0) -> Method:
    """:class:`~lpl_lib.MultilabelLogitAdjustment`."""
    shift = ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, tau)
    return Method(shift, task="multilabel")


def balanced_focal(
    facts: Facts, kappa: float = 0.05, scale: float = 5.0, mu: float = 0.3
) -> Method:
    """The distribution-balanced focal loss: a bias (negative-tolerant), ``NegativeScale``,
    re-balanced, with class-aware sampling."""
    shift = ml.MultilabelLogitAdjustment(facts.counts, facts.num_samples, kappa / scale)
    focal = NegativeScale(ml.MultilabelFocalLoss(gamma=2.0, balance=2.0), scale)
    base = Rebalanced(facts.counts, focal, mu=mu)
    return Method(shift, base_loss=base, sampler=class_aware, task="multilabel")


def label_lpl(facts: Facts, majority: float = 1.0, minority: float = 0.0) -> Method:
    """:class:`~lpl_lib.MultilabelLPL` with :class:`~lpl_lib.multilabel.PriorBound`."""
    facts_of = facts.counts, facts.num_samples
    bound = ml.PriorBound(*facts_of, majority, minority)
    return Method(ml.MultilabelLPL(*facts_of, bound=bound), task="multilabel")
