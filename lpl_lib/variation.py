r"""How much a perturbation changes the loss.

The cross-entropy of one sample is :math:`\ell = \log(1 + e^{R})`, where the *rival score*
:math:`R = \log \sum_{c \ne y} e^{u_c} - u_y` has the rivals against it. At least float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_batch, check_shift
from lpl_lib.perturbations import at_least_float32


def rival_score(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return :math:`R = \log \sum_{c \ne y} e^{u_c} - u_y`, minus the log-odds of y.

    Args:
        logits: ``(B, C)``, floating, in nats.
        targets: ``(B,)``, integer.

    Returns:
        ``(B,)``; :math:`-\infty` if there is one class only.

    >>> rival_score(torch.zeros(1, 3), torch.tensor([0])).exp()  # odds 1 : 2
    tensor([2.])
    """
    check_batch(logits, targets)
    logits, own = at_least_float32(logits), targets.long()[:, None]
    rivals = logits.scatter(1, own, -torch.inf).logsumexp(1)
    return rivals - logits.gather(1, own)[:, 0]


def softplus(score: Tensor) -> Tensor:
    """Return ``log(1 + exp(score))``, the loss of a rival score, exact at any size."""
    return torch.logaddexp(score, torch.zeros_like(score))


def loss_variation(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return the change of each sample's cross-entropy under ``delta``, ``(B,)``.

    .. math:: \Delta\ell = \ell(u + \delta, y) - \ell(u, y)
                         = \log \mathbb E_p e^{\delta_c - \delta_y}

    Accurate relative to the loss itself, also where the loss is tiny.

    >>> u, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> loss_variation(u, y, torch.tensor([[-1.0, 1.0]]))
    tensor([0.5662])
    """
    before = rival_score(logits, targets)
    check_shift(logits, delta)
    after = rival_score(at_least_float32(logits) + delta, targets)
    return softplus(after) - softplus(before)


def class_relative_variation(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return the relative loss variation of each class, ``(C,)``; NaN where absent.

    .. math:: \frac{\sum_{i \in S_c} \ell(u_i + \delta_i, c) - \ell(u_i, c)}
                   {\sum_{i \in S_c} \ell(u_i, c)}

    It is a ratio of sums: a mean of ratios would be ruled by the samples learnt best.

    >>> u, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
    >>> class_relative_variation(u, y, torch.tensor([[-1.0, 1.0]]).repeat(2, 1))
    tensor([1.0903,    nan])
    """
    change = loss_variation(logits, targets, delta)
    before = softplus(rival_score(logits, targets))
    zeros = change.new_zeros(logits.shape[1])
    targets = targets.long()
    return zeros.index_add(0, targets, change) / zeros.index_add(0, targets, before)
