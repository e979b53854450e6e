"""The distribution-balanced loss's parts: weights, negative scale, class-aware sampling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DistributedSampler

from lpl_lib.checks import (
    ClassCounts,
    check_class_counts,
    check_count,
    check_label_values,
    check_number,
)
from lpl_lib.multilabel.base_losses import BCELoss, LabelLoss
from lpl_lib.state import FullPrecision


@dataclass(frozen=True)
class NegativeScale(LabelLoss):
    r"""The negative scale of NTR: steeper negatives, divided by the same factor.

    .. math:: \ell^+(u) = f^+(u), \qquad
              \ell^-(u) = \tfrac{1}{\lambda} f^-(\lambda u)

    Negatives that are far below zero, which is most of them, get a gradient of
    :math:`e^{\lambda u}` in the place of :math:`e^{u}`: they are left in peace.

    Args:
        loss: the two curves ``f``; BCE for NTR, focal for DB-Focal.
        scale: :math:`\lambda` > 0; the authors take 5 on VOC-MLT and 2 on COCO-MLT.

    Source: Wu et al. 2020, negative-tolerant regularisation.

    >>> ntr = NegativeScale(scale=5.0)
    >>> u = torch.tensor([[-2.0]])
    >>> ntr.negative(u).item() < 0.001 < BCELoss().negative(u).item()
    True
    """

    loss: LabelLoss = field(default_factory=BCELoss)
    scale: float = 2.0

    def __post_init__(self) -> None:
        check_number(self.scale, "scale", strict=True)

    def positive(self, logits: Tensor) -> Tensor:
        return self.loss.positive(logits)

    def negative(self, logits: Tensor) -> Tensor:
        return self.loss.negative(self.scale * logits) / self.scale


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

    def curves(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss.curves(logits)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = self.loss.elementwise(logits, targets)
        return self.weights(targets).to(losses.dtype) * losses

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean over images and labels."""
        return self.elementwise(logits, targets).mean()


class ClassAwareSampler(DistributedSampler[int]):
    r"""Draws a label, then some of its images; the next label, and so on.

    Labels come in random order, each once before any comes again; a label's images come
    in random order too, each once before any comes again: each pass goes on where the last
    ended, or from the ``epoch`` given to ``set_epoch``. Processes share each pass. An image
    with several labels is drawn for each of them, which is why the re-balancing weights
    (:class:`Rebalanced`) go with this sampler.

    Args:
        targets: ``(N, K)`` of 0 and 1, of the training set.
        per_label: images that are drawn for a label in turn; 3 in the DB protocol.
        length: images a pass. Default :math:`\lfloor \max_k n_k \cdot K / 4 \rfloor`, the
            DB protocol's: 3,875 on VOC-MLT, 22,560 on COCO-MLT.
        seed: of the draw, the same in all processes.
        num_replicas, rank: of the processes; default, as :mod:`torch.distributed` says.

    Labels without an image are left out.

    Source: Shen et al. 2016 ("Relay backpropagation"), with the numbers of Wu et al. 2020.

    Raises:
        ValueError: targets that are not 0 or 1, or without any positive; no such rank.

    >>> targets = torch.zeros(100, 2)
    >>> targets[:, 0], targets[7, 1] = 1, 1
    >>> drawn = list(ClassAwareSampler(targets, length=60))
    >>> len(drawn), drawn.count(7) >= 30  # half of the draws are for label 1
    (60, True)
    """

    def __init__(
        self,
        targets: Tensor,
        per_label: int = 3,
        length: int | None = None,
        seed: int = 0,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        if targets.ndim != 2:
            raise ValueError(f"targets must have shape (N, K), got {tuple(targets.shape)}")
        check_label_values(targets)
        images = [column.nonzero()[:, 0] for column in targets.T]
        self.images = [of_label for of_label in images if len(of_label) > 0]
        if not self.images:
            raise ValueError(
                f"targets must have a positive, got none in {tuple(targets.shape)}"
            )
        self.per_label = check_count(per_label, "per_label")
        most = max(len(of_label) for of_label in self.images)
        default = max(most * targets.shape[1] // 4, 1)
        length = default if length is None else check_count(length, "length")
        if not (dist.is_available() and dist.is_initialized()):
            num_replicas = 1 if num_replicas is None else num_replicas
            rank = rank or 0
        whole: Any = targets  # what frameworks know as shared out already
        super().__init__(whole, num_replicas, rank, seed=seed)
        self.num_samples = math.ceil(length / self.num_replicas)
        self._draw, self._drawn = self._images(), 0

    def __iter__(self) -> Iterator[int]:
        size = self.num_samples * self.num_replicas
        start = self.epoch * size
        if start < self._drawn:
            self._draw, self._drawn = self._images(), 0
        skipped = start - self._drawn
        found = [*itertools.islice(self._draw, skipped, skipped + size)]
        self._drawn, self.epoch = start + size, self.epoch + 1
        return iter(found[self.rank :: self.num_replicas])

    def _images(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(self.seed)

        def endless(values: Tensor) -> Iterator[int]:
            while True:
                shuffled = torch.randperm(len(values), generator=order)
                yield from values[shuffled].tolist()

        images = [endless(of_label) for of_label in self.images]
        for label in endless(torch.arange(len(images))):
            yield from itertools.islice(images[label], self.per_label)
