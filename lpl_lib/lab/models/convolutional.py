"""Small convolutional nets: for the digits, and for canvases of several."""

from __future__ import annotations

from torch import Tensor, nn

from lpl_lib.checks import check_count
from lpl_lib.lab.data.scans import CELL


class HeadedNet(nn.Module):
    """A net of two halves: a body, and a linear head on the body's features.

    Args:
        num_classes: ``C``.
        width: ``A``, number of features.
        layers: of the body, whose last gives ``(B, A)``.

    >>> import torch
    >>> HeadedNet(3, 4, nn.Flatten()).features(torch.zeros(2, 1, 2, 2)).shape
    torch.Size([2, 4])
    """

    def __init__(self, num_classes: int, width: int, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, check_count(num_classes, "num_classes"))

    def features(self, images: Tensor) -> Tensor:
        """Return the head's input, ``(B, A)``, for images ``(B, ...)``."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        return self.head(self.features(images))


class SmallConvNet(HeadedNet):
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
        check_count(channels, "channels")
        check_count(width, "width")
        super().__init__(
            num_classes,
            2 * width,
            *block(channels, width),
            nn.MaxPool2d(2),
            *block(width, 2 * width),
            *block(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class CanvasNet(HeadedNet):
    """The same small net for each cell of a canvas, and the maximum over the cells.

    A convolution as large as a cell, with a stride of a cell, then one of a single
    position, each with batch normalisation; the largest value over the canvas; a linear
    head. 10,186 parameters for ten labels, and a step takes a few milliseconds.

    Args:
        num_classes: ``K``, labels.
        width: channels of both convolutions.

    >>> import torch
    >>> net = CanvasNet()
    >>> net(torch.zeros(2, 1, 27, 36)).shape
    torch.Size([2, 10])
    >>> sum(parameter.numel() for parameter in net.parameters())
    10186
    """

    def __init__(self, num_classes: int = 10, width: int = 64) -> None:
        super().__init__(
            num_classes,
            check_count(width, "width"),
            *block(1, width, CELL, stride=CELL, padding=0),
            *block(width, width, 1, padding=0),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )


def block(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, padding: int = 1
) -> list[nn.Module]:
    """Return a convolution, 3 x 3 by default, batch normalisation and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
