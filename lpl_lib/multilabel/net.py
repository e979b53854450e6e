"""A small net for the canvases: it asks whether a digit is anywhere on the image."""

from __future__ import annotations

from torch import nn

from lpl_lib.models import SmallConvNet


class CanvasNet(SmallConvNet):
    """:class:`~lpl_lib.SmallConvNet` with a maximum over the image in the place of a mean.

    A digit covers a tenth of its canvas: a mean over the image would drown it. 3,778
    parameters for ten labels at the default width.

    Args:
        num_labels: ``K``.
        width: channels of the first convolution; the others have twice as many.

    >>> import torch
    >>> CanvasNet()(torch.zeros(2, 1, 27, 36)).shape
    torch.Size([2, 10])
    >>> sum(parameter.numel() for parameter in CanvasNet().parameters())
    3778
    """

    def __init__(self, num_labels: int = 10, width: int = 8) -> None:
        super().__init__(num_labels, channels=1, width=width)
        pooling = next(
            i for i, m in enumerate(self.body) if isinstance(m, nn.AdaptiveAvgPool2d)
        )
        self.body[pooling] = nn.AdaptiveMaxPool2d(1)
