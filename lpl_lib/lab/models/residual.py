"""The residual networks of He et al. for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import check_count
from lpl_lib.lab.models.convolutional import HeadedNet, block


class CifarResNet(HeadedNet):
    """The residual networks of He et al. for 32 x 32 images: depth 20, 32, 44, 56, 110.

    A convolution of 16 channels, then three stages of ``(depth - 2) / 6`` basic blocks
    with 16, 32 and 64 channels, the latter two halving the image; shortcuts without
    parameters (option A: the image is thinned out, missing channels are zero); a mean
    over the image and a linear head. Depth 32 has 464,154 parameters for 10 classes.

    Args:
        num_classes: ``C``.
        depth: ``6 n + 2`` for a whole number ``n`` >= 1 of blocks a stage.
        channels: of the images.

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2.

    Raises:
        ValueError: a depth that is not ``6 n + 2``.

    >>> import torch
    >>> net = CifarResNet(num_classes=10, depth=32)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> sum(parameter.numel() for parameter in net.parameters())
    464154
    """

    def __init__(self, num_classes: int, depth: int = 32, channels: int = 3) -> None:
        blocks, rest = divmod(check_count(depth, "depth", minimum=8) - 2, 6)
        if rest:
            raise ValueError(f"depth must be 6 n + 2, such as 20, 32 or 110, got {depth}")
        layers = block(check_count(channels, "channels"), 16)
        width = 16
        for stage in (16, 32, 64):
            for _ in range(blocks):
                layers.append(_Residual(width, stage))
                width = stage
        super().__init__(num_classes, 64, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")


class _Residual(nn.Module):
    """Two convolutions beside a shortcut of option A."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.missing = outputs - inputs
        first = block(inputs, outputs, stride=2 if self.missing else 1)
        self.path = nn.Sequential(*first, *block(outputs, outputs)[:-1])

    def forward(self, images: Tensor) -> Tensor:
        path = self.path(images)
        if self.missing:
            images = F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.missing))
        return F.relu(path + images)
