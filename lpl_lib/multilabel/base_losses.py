r"""Base losses of many labels, as two curves: of a positive's logit, and of a negative's.

Every loss here is the mean over images and labels of

.. math:: \ell(u, t) = t\, \ell^+(u) + (1 - t)\, \ell^-(u),

:math:`\ell^+` never rises and :math:`\ell^-` never
falls with the logit, which is all that the closed form of
:class:`~lpl_lib.multilabel.MultilabelLPL` needs. For targets between 0 and 1 the form is
the expected loss of a label that is drawn with that probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_number


class LabelLoss:
    """Maps logits and targets, both ``(B, K)``, to their mean loss, in nats.

    Attributes:
        allows_soft_labels: whether targets may lie between 0 and 1.
    """

    allows_soft_labels = True

    def positive(self, logits: Tensor) -> Tensor:
        """Return the loss of positives with these logits, of the same shape."""
        raise NotImplementedError

    def negative(self, logits: Tensor) -> Tensor:
        """Return the loss of negatives with these logits, of the same shape."""
        raise NotImplementedError

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image and label, ``(B, K)``."""
        t = targets.to(logits.dtype)
        return t * self.positive(logits) + (1 - t) * self.negative(logits)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.elementwise(logits, targets).mean()


@dataclass(frozen=True)
class BCELoss(LabelLoss):
    r"""Binary cross-entropy, :math:`\ell^+ = \log(1 + e^{-u})`,
    :math:`\ell^- = \log(1 + e^{u})`.

    >>> BCELoss().elementwise(torch.tensor([[0.0, 2.0]]), torch.tensor([[1, 0]]))
    tensor([[0.6931, 2.1269]])
    """

    def positive(self, logits: Tensor) -> Tensor:
        return -F.logsigmoid(logits)

    def negative(self, logits: Tensor) -> Tensor:
        return -F.logsigmoid(-logits)


@dataclass(frozen=True)
class MultilabelFocalLoss(LabelLoss):
    r"""Focal loss: what is classified well counts less.

    .. math:: \ell^+ = b\,(1 - p)^\gamma \log(1 + e^{-u}), \qquad
              \ell^- = b\, p^\gamma \log(1 + e^{u}), \qquad p = \sigma(u)

    Args:
        gamma: >= 0; 0 is BCE, 2 is the authors' choice.
        balance: the factor ``b`` > 0. 1 for the plain loss; the distribution-balanced
            loss takes 2.

    Source: Lin et al. 2017, Eq. 4; the factor from Wu et al. 2020.

    >>> MultilabelFocalLoss()(torch.zeros(1, 1), torch.ones(1, 1))  # a quarter of log 2
    tensor(0.1733)
    """

    gamma: float = 2.0
    balance: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.gamma, "gamma")
        check_number(self.balance, "balance", strict=True)

    def positive(self, logits: Tensor) -> Tensor:
        return self.negative(-logits)

    def negative(self, logits: Tensor) -> Tensor:
        # a power of p by its logarithm: finite, with its gradient, at any logit
        focus = torch.exp(self.gamma * F.logsigmoid(logits))
        return -self.balance * focus * F.logsigmoid(-logits)


@dataclass(frozen=True)
class AsymmetricLoss(LabelLoss):
    r"""Asymmetric loss, ASL: a focal loss that forgives easy negatives altogether.

    .. math:: \ell^+ = -(1 - p)^{\gamma_+} \log p, \qquad
              \ell^- = -p_m^{\gamma_-} \log(1 - p_m), \qquad p_m = \max(p - m, 0)

    A negative with :math:`p \le m` has no loss and no gradient.

    Args:
        gamma_negative: >= 0; 4 in the authors' code.
        gamma_positive: >= 0; 1 in the authors' code, 0 in their training script.
        margin: :math:`m` in [0, 1); 0.05 in the authors' code.

    The powers are differentiated too, as the formula says. (The authors' code has a
    switch that holds them constant, and sums over the batch.)

    Source: Ridnik et al. 2021, "Asymmetric loss for multi-label classification".

    Raises:
        ValueError: a negative power; a margin outside [0, 1).

    >>> loss = AsymmetricLoss().elementwise(torch.tensor([[-3.0, 0.0]]), torch.zeros(1, 2))
    >>> loss.round(decimals=4)
    tensor([[0.0000, 0.0245]])
    """

    gamma_negative: float = 4.0
    gamma_positive: float = 1.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        check_number(self.gamma_negative, "gamma_negative")
        check_number(self.gamma_positive, "gamma_positive")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must lie in [0, 1), got {self.margin}")

    def positive(self, logits: Tensor) -> Tensor:
        return MultilabelFocalLoss(self.gamma_positive).positive(logits)

    def negative(self, logits: Tensor) -> Tensor:
        shift = logits.new_tensor(math.log(self.margin) if self.margin > 0 else -math.inf)
        log_rest = torch.logaddexp(F.logsigmoid(-logits), shift).clamp(max=0)
        if self.gamma_negative == 0:
            return -log_rest
        # away from 0, where a power below 1 has no slope
        p_m = (-torch.expm1(log_rest)).clamp(min=torch.finfo(logits.dtype).tiny)
        return -(p_m**self.gamma_negative) * log_rest


@dataclass(frozen=True)
class NegativeScale(LabelLoss):
    r"""The negative scale of NTR: steeper negatives, divided by the same factor.

    .. math:: \ell^+(u) = f^+(u), \qquad
              \ell^-(u) = \tfrac{1}{\lambda} f^-(\lambda u)

    Negatives that are far below zero, which is most of them, get a gradient of
    :math:`e^{\lambda u}` in the place of :math:`e^{u}`: they are left in peace.

    Args:
        loss: the two curves ``f``; BCE for NTR, focal for DB-Focal.
        scale: :math:`\lambda` > 0; the authors take 5 on VOC-MLT and 2 on COCO-MLT.

    Source: Wu et al. 2020, negative-tolerant regularisation.

    >>> ntr = NegativeScale(scale=5.0)
    >>> u = torch.tensor([[-2.0]])
    >>> ntr.negative(u).item() < 0.001 < BCELoss().negative(u).item()
    True
    """

    loss: LabelLoss = BCELoss()
    scale: float = 2.0

    def __post_init__(self) -> None:
        check_number(self.scale, "scale", strict=True)

    def positive(self, logits: Tensor) -> Tensor:
        return self.loss.positive(logits)

    def negative(self, logits: Tensor) -> Tensor:
        return self.loss.negative(self.scale * logits) / self.scale
