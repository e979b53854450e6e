r"""How much a perturbation changes the loss.

The cross-entropy of one sample is :math:`\ell = \log(1 + e^{R})`, where the *rival score*
:math:`R = \log \sum_{c \ne y} e^{u_c} - u_y` compares all rivals with the label. A
perturbation moves :math:`R` by the *effective gap* :math:`G`, and the loss changes by

.. math:: \Delta \ell = \log(1 + e^{R + G}) - \log(1 + e^{R}),

which has the sign of :math:`G`. All functions work in float32 or more.
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


def effective_gap(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return :math:`G`, by how much ``delta`` moves the rivals against the label.

    .. math:: G = \log \mathbb E_r e^{\delta_c} - \delta_y, \qquad
              r_c = p_c / (1 - p_y) \text{ for } c \ne y

    The loss changes with the sign of ``G``, however well the sample is classified.

    Returns:
        ``(B,)``, in nats; NaN if there is one class only.

    Raises:
        ValueError: ``delta`` of another shape than the logits.

    >>> delta = torch.tensor([[-0.5, 0.5, 0.5]])
    >>> effective_gap(torch.zeros(1, 3), torch.tensor([0]), delta)
    tensor([1.])
    """
    before = rival_score(logits, targets)
    return rival_score(_moved(logits, delta), targets) - before


def _moved(logits: Tensor, delta: Tensor) -> Tensor:
    check_shift(logits, delta)
    return at_least_float32(logits) + delta


def softplus(score: Tensor) -> Tensor:
    """Return ``log(1 + exp(score))``, the loss of a rival score, exact at any size (the
    one in ``torch.nn.functional`` drops the 1 beyond 20)."""
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
    after = rival_score(_moved(logits, delta), targets)
    return softplus(after) - softplus(before)


def class_relative_variation(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return the relative loss variation of each class, ``(C,)``; NaN where absent.

    .. math:: \frac{\sum_{i \in S_c} \ell(u_i + \delta_i, c) - \ell(u_i, c)}
                   {\sum_{i \in S_c} \ell(u_i, c)}

    The figures on slides 7 and 19 of Li et al. show it from head to tail. It is a ratio
    of sums: a mean of ratios would be ruled by the samples that are learnt best.

    >>> u, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
    >>> class_relative_variation(u, y, torch.tensor([[-1.0, 1.0]]).repeat(2, 1))
    tensor([1.0903,    nan])
    """
    change = loss_variation(logits, targets, delta)
    before = softplus(rival_score(logits, targets))
    zeros = change.new_zeros(logits.shape[1])
    targets = targets.long()
    return zeros.index_add(0, targets, change) / zeros.index_add(0, targets, before)
