"""Weights for images with several labels: the re-balancing of R-BCE and DB."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_number
from lpl_lib.multilabel.base_losses import BCELoss, LabelLoss
from lpl_lib.state import FullPrecision


class Rebalanced(FullPrecision, LabelLoss):
    r"""A loss with weights that undo how often an image is drawn for its other labels.

    Under class-aware sampling an image with the labels :math:`t` is drawn through any
    of them. For label ``k`` it should count

    .. math:: P_k = \frac{1 / n_k}{\sum_{j : t_j = 1} 1 / n_j}, \qquad
              r_k = \alpha + \sigma(\beta (P_k - \mu)),

    :math:`P_k` being large where ``k`` is the rarest of the image's labels (or is rarer
    than all of them: the weight is used for negatives too). An image without any label
    has no :math:`P_k`; it gets the largest weight, :math:`\alpha + 1`.

    Args:
        label_counts: images that have the label, ``(K,)``, all positive.
        loss: that is weighed; BCE makes R-BCE.
        alpha, beta: 0.1 and 10 in the authors' code.
        mu: where the weight is half-way; 0.3 on VOC-MLT, 0.2 on COCO-MLT. It should be
            near the mean of :math:`P_k`.

    Source: Wu et al. 2020, re-balanced weighting.

    Raises:
        ValueError: a count that is not positive; a negative ``alpha``, ``beta``, ``mu``;
            targets that are not 0 or 1.

    >>> Rebalanced([90, 10]).weights(torch.tensor([[1, 1], [1, 0]])).round(decimals=3)
    tensor([[0.2190, 1.0980],
            [1.0990, 1.1000]])
    """

    inverse: Tensor
    allows_soft_labels = False

    def __init__(
        self,
        label_counts: ClassCounts,
        loss: LabelLoss | None = None,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.3,
    ) -> None:
        super().__init__()
        counts = check_class_counts(label_counts, "label_counts")
        self.num_classes = len(counts)
        self.loss = BCELoss() if loss is None else loss
        self.alpha = check_number(alpha, "alpha")
        self.beta = check_number(beta, "beta")
        self.mu = check_number(mu, "mu")
        self.register_buffer("inverse", (1 / counts).float())

    def weights(self, targets: Tensor) -> Tensor:
        """Return the weights ``(B, K)`` of targets ``(B, K)`` of 0 and 1."""
        share = self.inverse / (targets.to(self.inverse.dtype) @ self.inverse)[:, None]
        return self.alpha + torch.sigmoid(self.beta * (share - self.mu))

    def positive(self, logits: Tensor) -> Tensor:
        return self.loss.positive(logits)

    def negative(self, logits: Tensor) -> Tensor:
        return self.loss.negative(logits)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = self.loss.elementwise(logits, targets)
        return self.weights(targets).to(losses.dtype) * losses

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean over images and labels."""
        return self.elementwise(logits, targets).mean()
