"""Perturbations of multi-label logits: the protocol, their sum, and the adjustment.

A perturbation maps logits ``(B, K)`` and targets ``(B, K)`` of 0 and 1 to a tensor
``delta`` of the same shape; the loss of a method is the base loss of ``logits + delta``
(:class:`~lpl_lib.multilabel.MultiLabelLoss`). As in the single-label library they
compose with ``+`` from left to right, each seeing the logits that the earlier ones left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lpl_lib.checks import ClassCounts, check_number
from lpl_lib.multilabel.checks import check_label_batch, check_label_counts
from lpl_lib.perturbations import at_least_float32


class LabelPerturbation(nn.Module):
    """Maps logits and targets, both ``(B, K)``, to ``delta`` ``(B, K)``.

    Subclasses implement :meth:`delta`; calling the module checks the batch first and
    raises half precision to float32. Logits are in nats (log-odds), and so is ``delta``.

    Attributes:
        num_labels: the number of labels ``K`` it was made for; ``None`` if any.
        allows_soft_targets: whether targets may lie between 0 and 1.
    """

    num_labels: int | None = None
    allows_soft_targets: bool = False

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the perturbation of a checked batch, both ``(B, K)`` in one dtype."""
        raise NotImplementedError

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Check the batch and return ``delta``, ``(B, K)``, float32 or float64."""
        check_label_batch(logits, targets, self.num_labels, soft=self.allows_soft_targets)
        logits = at_least_float32(logits)
        return self.delta(logits, targets.to(logits.dtype))

    def __add__(self, other: LabelPerturbation) -> LabelSum:
        if not isinstance(other, LabelPerturbation):
            return NotImplemented
        return LabelSum(self, other)


class LabelSum(LabelPerturbation):
    """One perturbation after another; usually written ``first + second``.

    Raises:
        ValueError: the parts were made for different numbers of labels.

    >>> both = SigmoidAdjustment([1], 4) + SigmoidAdjustment([1], 4)
    >>> both(torch.zeros(1, 1), torch.ones(1, 1))  # 2 log (1/3)
    tensor([[-2.1972]])
    """

    def __init__(self, first: LabelPerturbation, second: LabelPerturbation) -> None:
        super().__init__()
        sizes = {first.num_labels, second.num_labels} - {None}
        if len(sizes) > 1:
            raise ValueError(
                "perturbations that add must be made for the same labels, got "
                f"{first.num_labels} and {second.num_labels} labels"
            )
        self.num_labels = sizes.pop() if sizes else None
        self.allows_soft_targets = first.allows_soft_targets and second.allows_soft_targets
        self.first = first
        self.second = second

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        first = self.first.delta(logits, targets)
        return first + self.second.delta(logits + first, targets)


class SigmoidAdjustment(LabelPerturbation):
    r"""Logit adjustment for sigmoids: each label's logits move by its log-odds.

    .. math:: \delta_k = \tau \log\frac{\pi_k}{1 - \pi_k}, \qquad
              \pi_k = n_k / N,

    for the positives and the negatives of label ``k`` alike. For a label that less than
    half of the images have, :math:`\delta_k < 0`: positives get harder, negatives
    easier. With :math:`\tau = 1` the trained logit of label ``k`` is zero where
    :math:`P(t_k = 1 \mid x) = \pi_k`.

    The bias of *negative-tolerant regularisation* (NTR) is this perturbation with
    :math:`\tau = \kappa / \lambda`, where :math:`\kappa` and :math:`\lambda` are its
    authors' bias and negative scale (:class:`~lpl_lib.multilabel.NegativeScale`).

    Args:
        label_counts: images that have the label, ``(K,)``, in ``(0, num_samples)``.
        num_samples: training images ``N``.
        tau: strength, >= 0.

    Source: Wu et al. 2020, "Distribution-balanced loss for multi-label classification in
    long-tailed datasets", written as Menon et al. 2021 write logit adjustment.

    Raises:
        ValueError: a label without positives or without negatives; a negative ``tau``.

    >>> SigmoidAdjustment([10, 50], num_samples=100)(torch.zeros(1, 2), torch.eye(2)[:1])
    tensor([[-2.1972,  0.0000]])
    """

    log_odds: Tensor
    allows_soft_targets = True

    def __init__(
        self, label_counts: ClassCounts, num_samples: int, tau: float = 1.0
    ) -> None:
        super().__init__()
        self.tau = check_number(tau, "tau")
        odds = log_odds(label_counts, num_samples)
        self.num_labels = len(odds)
        self.register_buffer("log_odds", odds.float(), persistent=False)

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (self.tau * self.log_odds).to(logits.dtype).expand_as(logits)


def log_odds(label_counts: ClassCounts, num_samples: int) -> Tensor:
    r"""Return :math:`\log\frac{\pi_k}{1 - \pi_k}`, ``(K,)``, float64, in nats.

    >>> log_odds([1, 3], num_samples=4).exp().round(decimals=3)
    tensor([0.3330, 3.0000], dtype=torch.float64)
    """
    counts = check_label_counts(label_counts, num_samples)
    return torch.log(counts) - torch.log(num_samples - counts)
