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

from lpl_lib.checks import check_number


class LabelLoss:
    """Maps logits and targets, both ``(B, K)``, to their mean loss, in nats.

    Attributes:
        allows_soft_labels: whether targets may lie between 0 and 1.
    """

    allows_soft_labels = True

    def positive(self, logits: Tensor) -> Tensor:
        """Return the loss of positives with these logits, of the same shape."""
        return self.curves(logits)[0]

    def negative(self, logits: Tensor) -> Tensor:
        """Return the loss of negatives with these logits, of the same shape."""
        return self.curves(logits)[1]

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`positive` and :meth:`negative`, what they share made once."""
        return self.positive(logits), self.negative(logits)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image and label, ``(B, K)``."""
        positive, negative = self.curves(logits)
        return torch.lerp(negative, positive, targets.to(logits.dtype))

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

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        # beyond 40 the 1 in log(1 + e^u) is below the rounding of float64
        of_positive, of_negative = (F.softplus(u, threshold=40) for u in (-logits, logits))
        # a power by its logarithm: finite, with its gradient, at any logit
        focus = [(-self.gamma * bce).exp_() for bce in (of_negative, of_positive)]
        if self.balance != 1:
            focus = [self.balance * part for part in focus]
        return focus[0] * of_positive, focus[1] * of_negative


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
        p, log_q = logits.sigmoid(), F.logsigmoid(-logits)
        p_m = (p - self.margin).clamp(min=0)
        log_rest = torch.log1p(-p_m) if self.margin > 0 else log_q
        # off zero, where a power below 1 has no slope
        p_m = p_m.clamp(min=torch.finfo(logits.dtype).tiny)
        focus = [(self.gamma_positive * log_q).exp_(), p_m]
        # a general power is ten times as slow as two squares
        four = self.gamma_negative == 4
        focus[1] = p_m.square().square() if four else p_m**self.gamma_negative
        if self.constant_weights:
            focus = [part.detach() for part in focus]
        return -focus[0] * F.logsigmoid(logits), -focus[1] * log_rest
