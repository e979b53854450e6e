r"""How far a perturbation can change the loss, by bounds that do not ask the network.

With :math:`R = \max_c \delta_c - \min_c \delta_c` and :math:`\tilde\delta` the centred
:math:`\delta`,

.. math:: -R \le \Delta\ell \le \max_c \delta_c - \delta_y \le R, \qquad
          0 \le \Delta\ell - (p - e_y)^\top \delta
            \le \tfrac18 R^2 \le \tfrac14 \|\tilde\delta\|_2^2 .

Source: ours; the lower bound of the second line is Jensen's inequality, the upper ones
are Hoeffding's lemma and a bound of the largest eigenvalue of the Hessian.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lpl_lib.checks import check_batch


class VariationInterval(NamedTuple):
    """Lower and upper bounds, ``(B,)`` each, in nats."""

    low: Tensor
    high: Tensor


def first_order(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return :math:`(p - e_y)^\top \delta`, ``(B,)``."""
    own = delta.gather(1, targets[:, None])[:, 0]
    return (logits.softmax(1) * delta).sum(1) - own


def variation_interval(delta: Tensor, targets: Tensor) -> VariationInterval:
    r"""Return bounds of the loss variation that hold for all logits.

    .. math:: \min_c \delta_c - \delta_y \le \Delta\ell \le \max_c \delta_c - \delta_y

    Both are approached as :math:`p_y \to 0` with one rival; neither lies further out
    than :math:`R`.

    Args:
        delta: ``(B, C)``, floating, in nats.
        targets: ``(B,)``, integer.

    Source: ours, from :math:`\Delta\ell = \log \mathbb E_p e^{\delta_c - \delta_y}`.

    >>> import torch
    >>> variation_interval(torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([1]))
    VariationInterval(low=tensor([-1.]), high=tensor([2.]))
    """
    check_batch(delta, targets)
    own = delta.gather(1, targets.long()[:, None])[:, 0]
    return VariationInterval(delta.amin(1) - own, delta.amax(1) - own)


def second_order_bound(delta: Tensor) -> Tensor:
    r"""Return the most by which the loss variation exceeds its first order, ``(B,)``.

    .. math:: \tfrac18 R^2 = \tfrac18 (\max_c \delta_c - \min_c \delta_c)^2

    It is never larger than :math:`\tfrac14 \|\tilde\delta\|_2^2`, the bound that a
    Euclidean ball suggests: :math:`R^2 \le 2 \|\tilde\delta\|_2^2`, since the largest and
    the smallest entry are two of the entries.

    Args:
        delta: ``(B, C)``, floating, in nats.

    >>> import torch
    >>> second_order_bound(torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))
    tensor([0.5000, 0.0000])
    """
    return (delta.amax(1) - delta.amin(1)) ** 2 / 8


def hessian_bound(label_probability: Tensor) -> Tensor:
    r"""Return a bound of the largest eigenvalue of :math:`\mathrm{diag}(p) - pp^\top`.

    .. math:: \lambda_{\max} \le \min\bigl(\tfrac12,\, 2(1 - p_y)\bigr)

    so a sample that is learnt has no curvature left. (Gershgorin: the disc of row
    :math:`c` ends at :math:`2p_c(1 - p_c)`.)

    Args:
        label_probability: :math:`p_y` in [0, 1], of any shape.

    >>> import torch
    >>> hessian_bound(torch.tensor([0.2, 0.9]))
    tensor([0.5000, 0.2000])
    """
    return (2 * (1 - label_probability)).clamp(max=0.5)
