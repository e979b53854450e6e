"""Wide residual networks for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import check_count


class WideResNet(nn.Module):
    """The wide residual networks of Zagoruyko and Komodakis, for 32 x 32 images.

    A convolution of 16 channels, then three stages of ``(depth - 4) / 6`` blocks with
    ``16 k``, ``32 k`` and ``64 k`` channels, the latter two halving the image. In a
    block, normalisation and ReLU come before each of its two convolutions; where the
    shape changes the shortcut is a 1 x 1 convolution. For 10 classes WRN-28-10 has
    36,479,194 parameters and WRN-16-8 has 10,961,370.

    Args:
        num_classes: ``C``.
        depth: ``6 n + 4`` for a whole number ``n`` >= 1 of blocks a stage.
        widening: ``k``.
        channels: of the images.

    Source: Zagoruyko and Komodakis 2016, "Wide residual networks", table 1; without
    dropout.

    Raises:
        ValueError: a depth that is not ``6 n + 4``.

    >>> import torch
    >>> net = WideResNet(10, depth=10, widening=1)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int, depth: int = 28, widening: int = 10, channels: int = 3
    ) -> None:
        super().__init__()
        check_count(num_classes, "num_classes")
        check_count(channels, "channels")
        check_count(widening, "widening")
        blocks, rest = divmod(check_count(depth, "depth", minimum=10) - 4, 6)
        if rest:
            raise ValueError(f"depth must be 6 n + 4, such as 16, 28 or 40, got {depth}")
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False)]
        width = 16
        for stage, stride in ((16, 1), (32, 2), (64, 2)):
            for number in range(blocks):
                step = stride if number == 0 else 1
                layers.append(_WideBlock(width, stage * widening, step))
                width = stage * widening
        self.body = nn.Sequential(
            *layers,
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def features(self, images: Tensor) -> Tensor:
        """Return the head's input, ``(B, 64 k)``, for images ``(B, channels, H, W)``."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        return self.head(self.features(images))


class _WideBlock(nn.Module):
    """Two convolutions, each after normalisation and ReLU, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None
        )

    def forward(self, images: Tensor) -> Tensor:
        active = F.relu(self.norm(images))
        path = self.second(F.relu(self.second_norm(self.first(active))))
        return path + (images if self.shortcut is None else self.shortcut(active))
