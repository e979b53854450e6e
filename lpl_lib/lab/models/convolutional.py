"""A small convolutional net."""

from __future__ import annotations

from torch import Tensor, nn

from lpl_lib.checks import check_count


class SmallConvNet(nn.Module):
    """A small convolutional net for small images, such as the digits.

    Three convolutions with batch normalisation, a pooling after the first, a mean over
    the image, and a linear head: 14,458 parameters for the digits.

    Args:
        num_classes: ``C``.
        channels: of the images.
        width: channels of the first convolution; the others have twice as many.

    >>> import torch
    >>> net = SmallConvNet(num_classes=10)
    >>> net(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    >>> net.features(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 32])
    """

    def __init__(self, num_classes: int, channels: int = 1, width: int = 16) -> None:
        super().__init__()
        check_count(num_classes, "num_classes")
        check_count(channels, "channels")
        check_count(width, "width")
        self.body = nn.Sequential(
            *block(channels, width),
            nn.MaxPool2d(2),
            *block(width, 2 * width),
            *block(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the head's input, ``(B, 2 * width)``, for images ``(B, ...)``."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        return self.head(self.features(images))


def block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 3 x 3 convolution, batch normalisation and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
