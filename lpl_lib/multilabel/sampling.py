"""Class-aware sampling: every label is drawn equally often, however rare."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from lpl_lib.checks import check_count, check_label_values


class ClassAwareSampler(Sampler[int]):
    r"""Draws a label, then some of its images; the next label, and so on.

    Labels come in random order, each once before any comes again; a label's images come
    in random order too, each once before any comes again. An image with several labels
    is drawn for each of them, which is why the re-balancing weights
    (:class:`~lpl_lib.multilabel.Rebalanced`) go with this sampler.

    Args:
        targets: ``(N, K)`` of 0 and 1, of the training set.
        per_label: images that are drawn for a label in turn; 3 in the DB protocol.
        length: images an epoch. Default :math:`\lfloor \max_k n_k \cdot K / 4 \rfloor`,
            the DB protocol's: 3,875 on VOC-MLT, 22,560 on COCO-MLT.
        seed: of the order; each pass over the sampler goes on from where the last ended.

    Labels without an image are left out.

    Source: Shen et al. 2016 ("Relay backpropagation"), with the numbers of Wu et al. 2020.

    Raises:
        ValueError: targets that are not 0 or 1, or without any positive.

    >>> targets = torch.zeros(100, 2)
    >>> targets[:, 0], targets[7, 1] = 1, 1
    >>> drawn = list(ClassAwareSampler(targets, length=60))
    >>> len(drawn), drawn.count(7) >= 30  # half of the draws are for label 1
    (60, True)
    """

    def __init__(
        self, targets: Tensor, per_label: int = 3, length: int | None = None, seed: int = 0
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
        self.length = default if length is None else check_count(length, "length")
        self.order = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        labels = self._endless(torch.arange(len(self.images)))
        images = [self._endless(of_label) for of_label in self.images]
        drawn = 0
        for label in labels:
            for _ in range(min(self.per_label, self.length - drawn)):
                yield next(images[label])
                drawn += 1
            if drawn == self.length:
                return

    def _endless(self, values: Tensor) -> Iterator[int]:
        while True:
            order = torch.randperm(len(values), generator=self.order)
            yield from values[order].tolist()
