r"""Base losses of many labels, as two curves: of a positive's logit, and of a negative's.

Every loss here is the mean over images and labels of

.. math:: \ell(u, t) = t\, \ell^+(u) + (1 - t)\, \ell^-(u),

:math:`\ell^+` never rises and :math:`\ell^-` never
falls with the logit, which is all that the closed form of
:class:`~lpl_lib.multilabel.MultilabelLPL` needs. For targets between 0 and 1 the form is
the expected loss of a label that is drawn with that probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_number, reads_values


class LabelLoss:
    """Maps logits and targets, both ``(B, K)``, to their mean loss, in nats.

    Attributes:
        allows_soft_labels: whether targets may lie between 0 and 1.
        symmetric: whether the loss of positives is that of negatives of minus the logit.
    """

    allows_soft_labels = True
    symmetric = False

    def positive(self, logits: Tensor) -> Tensor:
        """Return the loss of positives with these logits, of the same shape."""
        return self.negative(-logits) if self.symmetric else self.curves(logits)[0]

    def negative(self, logits: Tensor) -> Tensor:
        """Return the loss of negatives with these logits, of the same shape."""
        return self.curves(logits)[1]

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`positive` and :meth:`negative`, what they share made once."""
        return self.positive(logits), self.negative(logits)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image and label, ``(B, K)``."""
        t = targets.to(logits.dtype)
        # 0 and 1 are their own squares: of each entry one curve will do
        if self.symmetric and reads_values(t, None) and torch.equal(t, t.square()):
            return self.negative(logits * t.mul(-2).add_(1))
        positive, negative = self.curves(logits)
        return torch.lerp(negative, positive, t)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.elementwise(logits, targets).mean()


@dataclass(frozen=True)
class BCELoss(LabelLoss):
    r"""Binary cross-entropy, :math:`\ell^+ = \log(1 + e^{-u})`,
    :math:`\ell^- = \log(1 + e^{u})`.

    >>> BCELoss().elementwise(torch.tensor([[0.0, 2.0]]), torch.tensor([[1, 0]]))
    tensor([[0.6931, 2.1269]])
    """

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return -F.logsigmoid(logits), -F.logsigmoid(-logits)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        t = targets.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, t, reduction="none")


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

    symmetric = True

    def negative(self, logits: Tensor) -> Tensor:
        if self.gamma == 2:
            focus = logits.sigmoid().square()
        else:  # a power by its logarithm: finite, with its gradient, at any logit
            focus = (self.gamma * F.logsigmoid(logits)).exp_()
        # beyond 40 the 1 in log(1 + e^u) is below the rounding of float64
        loss = focus * F.softplus(logits, threshold=40)
        return loss if self.balance == 1 else self.balance * loss


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
        constant_weights: hold the powers constant in the gradient, as the authors do when
            they train (they sum over the batch); by default they are differentiated.

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
    constant_weights: bool = False

    def __post_init__(self) -> None:
        check_number(self.gamma_negative, "gamma_negative")
        check_number(self.gamma_positive, "gamma_positive")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must lie in [0, 1), got {self.margin}")

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        flipped = -logits
        log_q = F.logsigmoid(flipped)
        minus = (self.margin - logits.sigmoid()).clamp(max=0)  # -p_m
        log_rest = torch.log1p(minus) if self.margin > 0 else log_q
        far = (self.gamma_positive * log_q).exp_()
        if self.gamma_negative == 4:  # a general power is ten times as slow
            near = minus.square().square()
        else:  # off zero, where a power below 1 has no slope
            near = (-minus).clamp(min=torch.finfo(logits.dtype).tiny) ** self.gamma_negative
        if self.constant_weights:
            far, near = far.detach(), near.detach()
        return far * F.softplus(flipped, threshold=40), -near * log_rest
