"""Perturbations of multi-label logits: the adjustment by log-odds."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, Task, check_label_counts, check_number
from lpl_lib.perturbations import Perturbation


class MultilabelLogitAdjustment(Perturbation):
    r"""Logit adjustment for sigmoids: each label's logits move by its log-odds.

    .. math:: \delta_k = \tau \log\frac{\pi_k}{1 - \pi_k}, \qquad
              \pi_k = n_k / N,

    for the positives and the negatives of label ``k`` alike. With :math:`\tau = 1` the
    trained logit of label ``k`` is zero where :math:`P(t_k = 1 \mid x) = \pi_k`.

    The bias of *negative-tolerant regularisation* (NTR) is this perturbation with
    :math:`\tau = \kappa / \lambda`, its authors' bias over their negative scale.

    Args:
        label_counts: images that have the label, ``(K,)``, in ``(0, num_samples)``.
        num_samples: training images ``N``.
        tau: strength, >= 0.

    Source: Wu et al. 2020, "Distribution-balanced loss for multi-label classification in
    long-tailed datasets", written as Menon et al. 2021 write logit adjustment.

    Raises:
        ValueError: a label without positives or without negatives; a negative ``tau``.

    >>> adjustment = MultilabelLogitAdjustment([10, 50], num_samples=100)
    >>> adjustment(torch.zeros(1, 2), torch.eye(2)[:1])
    tensor([[-2.1972,  0.0000]])
    """

    log_odds: Tensor
    task: Task = "multilabel"
    allows_soft_labels = True

    def __init__(
        self, label_counts: ClassCounts, num_samples: int, tau: float = 1.0
    ) -> None:
        super().__init__()
        self.tau = check_number(tau, "tau")
        odds = log_odds(label_counts, num_samples)
        self.num_classes = len(odds)
        self.register_buffer("log_odds", odds.float())

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (self.tau * self.log_odds).to(logits.dtype).expand_as(logits)


def log_odds(label_counts: ClassCounts, num_samples: int) -> Tensor:
    r"""Return :math:`\log\frac{\pi_k}{1 - \pi_k}`, ``(K,)``, float64, in nats.

    >>> log_odds([1, 3], num_samples=4).exp().round(decimals=3)
    tensor([0.3330, 3.0000], dtype=torch.float64)
    """
    counts = check_label_counts(label_counts, num_samples)
    return torch.log(counts) - torch.log(num_samples - counts)
