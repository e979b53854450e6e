"""Labelled images held in memory."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor


class LabelledImages(NamedTuple):
    """Images and their labels.

    Attributes:
        images: ``(N, channels, height, width)``, float32, or uint8 for nets that begin
            with :class:`~lpl_lib.lab.models.Normalise`.
        targets: ``(N,)``, int64, in ``[0, C)``; of several labels, ``(N, K)`` of 0 and 1.
    """

    images: Tensor
    targets: Tensor

    def subset(self, indices: Tensor) -> LabelledImages:
        """Return the images at ``indices``, or those that a mask names."""
        return LabelledImages(self.images[indices], self.targets[indices])

    def class_counts(self, num_classes: int) -> Tensor:
        """Return the number of images of each class or label, ``(num_classes,)``, int64."""
        if self.targets.ndim == 2:
            return self.targets.sum(0).long()
        return torch.bincount(self.targets, minlength=num_classes)


def checksum(data: LabelledImages) -> str:
    """Return a digest of pixels, labels and their order: 16 hexadecimal digits of SHA-256.

    >>> checksum(LabelledImages(torch.zeros(1, 1, 2, 2), torch.tensor([0])))
    '4f3c7193fb0bc088'
    """
    total = hashlib.sha256()
    for part in data:
        total.update(f"{part.dtype} {tuple(part.shape)} ".encode())
        total.update(part.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]
