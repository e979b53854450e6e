"""Augmentation of a batch where it lies: random crops and flips, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_count


def draw(
    size: int, padding: int, flip: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the augmentation of ``size`` images: uniform shifts, flips of probability 1/2.

    Drawn on the CPU for a whole epoch at a time, so that the numbers are the same on any
    device and the device is not made to wait for each batch.

    Args:
        padding: pixels of zeros on each side, >= 0, within which the crop may lie.
        flip: whether to mirror at all.

    Returns:
        shifts ``(N, 2)``, int64, down and right, in ``[0, 2 padding]``, and flips ``(N,)``,
        bool.

    >>> draw(2, 0, False, torch.Generator())[1]
    tensor([False, False])
    """
    check_count(padding, "padding", minimum=0)
    shifts = torch.randint(2 * padding + 1, (size, 2), generator=generator)
    flips = torch.rand(size, generator=generator) < 0.5 if flip else torch.zeros(size)
    return shifts, flips.bool()


def crop_and_flip(images: Tensor, draws: Sequence[Tensor], padding: int) -> Tensor:
    """Pad each image with zeros, cut it out at its shift, and mirror it or not.

    The crop of He et al. 2016, section 4.2, and most training on CIFAR since: padding 4
    for 32 pixels. One gather does it all, on the images' device.

    Args:
        images: ``(B, channels, height, width)``, any dtype.
        draws: of :func:`draw` for these ``B`` images, on the same device.
        padding: the one they were drawn for.

    Returns:
        the same shape and dtype, in memory format ``channels_last``.

    >>> image = torch.tensor([[[[1, 2], [3, 4]]]])
    >>> draws = torch.tensor([[0, 1]]), torch.tensor([True])
    >>> crop_and_flip(image, draws, padding=1)  # one down, and mirrored
    tensor([[[[0, 0],
              [2, 1]]]])
    """
    (shifts, flips), (height, width) = draws, images.shape[2:]
    down = torch.arange(height, device=images.device)
    right = torch.arange(width, device=images.device).expand(len(images), width)
    right = torch.where(flips[:, None], right.flip(1), right)
    rows = (shifts[:, :1] + down)[:, :, None]
    columns = (shifts[:, 1:] + right)[:, None, :]
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    return padded[sample, rows, columns].permute(0, 3, 1, 2)
