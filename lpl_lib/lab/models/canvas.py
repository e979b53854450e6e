"""A small net for the canvases: it asks of each cell what it shows, then of all at once."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import check_count
from lpl_lib.lab.data.canvases import CELL


class CanvasNet(nn.Module):
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
        super().__init__()
        check_count(num_classes, "num_classes")
        check_count(width, "width")
        self.body = nn.Sequential(
            nn.Conv2d(1, width, CELL, stride=CELL, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.head = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the head's input, ``(B, width)``, for images ``(B, 1, 27, 36)``."""
        return F.adaptive_max_pool2d(self.body(images), 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)``."""
        return self.head(self.features(images))
