r"""The perturbations that a loss of several labels amounts to: its *equivalent shifts*.

The binary cross-entropy of a positive is :math:`\log(1 + e^{-u})`, that of a negative
:math:`\log(1 + e^{u})`: one number per image and label, which a perturbation can make any
other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpl_lib.multilabel import LabelLoss
from lpl_lib.perturbations import at_least_float32


class LabelVariation(NamedTuple):
    """What belongs to positives and what to negatives, each of the logits' shape."""

    positives: Tensor
    negatives: Tensor


def equivalent_shift(loss: LabelLoss, logits: Tensor) -> LabelVariation:
    r"""Return the perturbations that give BCE the values of another loss.

    .. math:: \ell^+_{\text{BCE}}(u + \delta^+) = \ell^+(u), \qquad
              \ell^-_{\text{BCE}}(u + \delta^-) = \ell^-(u)

    Any loss has them; they depend on the logit unless the loss is a class-level
    perturbation. :math:`-\infty` for a negative without loss (and :math:`+\infty` for
    such a positive).

    Args:
        loss: two curves, such as ``MultilabelFocalLoss()``.
        logits: of any shape, in nats.

    Returns:
        Two tensors of the logits' shape.

    >>> from lpl_lib.multilabel import AsymmetricLoss
    >>> asl = AsymmetricLoss(0.0, 0.0, margin=0.05)
    >>> equivalent_shift(asl, torch.tensor([-4.0, 0.0])).negatives
    tensor([   -inf, -0.2007])
    """
    logits = at_least_float32(logits)
    positives = -_inverse_softplus(loss.positive(logits)) - logits
    return LabelVariation(positives, _inverse_softplus(loss.negative(logits)) - logits)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))
