"""Class-aware sampling: every label is drawn equally often, however rare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DistributedSampler

from lpl_lib.checks import check_count, check_label_values


class ClassAwareSampler(DistributedSampler[int]):
    r"""Draws a label, then some of its images; the next label, and so on.

    Labels come in random order, each once before any comes again; a label's images come
    in random order too, each once before any comes again: each pass goes on where the last
    ended, or from the ``epoch`` given to ``set_epoch``. Processes share each pass. An image
    with several labels is drawn for each of them, which is why the re-balancing weights
    (:class:`~lpl_lib.multilabel.Rebalanced`) go with this sampler.

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
