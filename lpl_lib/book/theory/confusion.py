r"""The soft confusion matrix, and what the biases' stationarity makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_batch
from lpl_lib.perturbations import at_least_float32


def soft_confusion(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return the mean probabilities of each class's samples, ``(C, C)``; NaN where absent.

    .. math:: M_{kc} = \frac{1}{|S_k|} \sum_{i \in S_k} p_{i,c}

    The diagonal holds the confidences :math:`\bar q_c`. Where cross-entropy is
    stationary in free biases, :math:`\sum_k \pi_k M_{kc} = \pi_c`: with equal counts rows
    *and* columns sum to 1, so what a class loses to others, :math:`1 - \bar q_c`, equals
    what it takes from them.

    Args:
        logits: ``(N, C)``, floating.
        targets: ``(N,)``, integer.

    >>> u = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, -1.0986]])
    >>> soft_confusion(u, torch.tensor([0, 0, 1]))
    tensor([[0.5000, 0.5000],
            [0.7500, 0.2500]])
    """
    check_batch(logits, targets)
    p = at_least_float32(logits).softmax(1)
    sums = p.new_zeros(p.shape[1], p.shape[1]).index_add(0, targets.long(), p)
    return sums / torch.bincount(targets.long(), minlength=p.shape[1])[:, None]
