"""The first layer and the last: from bytes to floats, and a cosine classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import check_count, check_number


class CosineLinear(nn.Module):
    r"""A classifier by angles, for margins that mean the same in every net.

    .. math:: u_c = s \, \frac{w_c^\top f}{\|w_c\| \, \|f\|}

    Args:
        in_features: ``A``.
        out_features: ``C``.
        scale: :math:`s` > 0, the largest logit; 30 in LDAM's code.

    Source: the normalised last layer of Cao et al. 2019 (LDAM).

    >>> head = CosineLinear(2, 2, scale=3.0)
    >>> _ = head.weight.data.copy_(torch.eye(2))
    >>> head(torch.tensor([[0.0, 7.0]]))
    tensor([[0., 3.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 30.0) -> None:
        super().__init__()
        self.in_features = check_count(in_features, "in_features")
        self.out_features = check_count(out_features, "out_features")
        self.scale = check_number(scale, "scale", strict=True)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear does

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``(B, C)`` for features ``(B, A)``."""
        cosines = F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))
        return cosines * self.scale


class Normalise(nn.Module):
    """Maps bytes to floats of mean 0 and variance 1, by the statistics of a training set.

    Args:
        images: ``(N, channels, height, width)``, uint8. Mean and standard deviation of
            each channel are exact: they come from a count of its 256 levels.

    >>> levels = torch.tensor([[[[0, 2]]], [[[4, 6]]]], dtype=torch.uint8)
    >>> Normalise(levels)(levels).flatten().round(decimals=3)
    tensor([-1.3420, -0.4470,  0.4470,  1.3420])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        level = torch.arange(256, dtype=torch.float64)
        shares = [torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]
        share = torch.stack(shares).cpu().double() / images[:, 0].numel()
        mean = (share * level).sum(1, keepdim=True)
        variance = (share * (level - mean) ** 2).sum(1, keepdim=True)
        deviation = torch.where(variance > 0, variance, 1.0).sqrt()
        self.register_buffer("mean", mean.float()[:, :, None])
        self.register_buffer("scale", (1 / deviation).float()[:, :, None])

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 images of the same shape."""
        return (images.float() - self.mean) * self.scale


def last_linear(net: nn.Module) -> tuple[str, nn.Linear | CosineLinear]:
    """Return name and module of the last linear layer among the modules of ``net``.

    >>> last_linear(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)))
    ('2', Linear(in_features=2, out_features=3, bias=True))
    """
    linear = (nn.Linear, CosineLinear)
    layers = [(name, m) for name, m in net.named_modules() if isinstance(m, linear)]
    if not layers:
        raise ValueError(
            f"net must have a linear layer for its last, got none in {type(net).__name__}"
        )
    return layers[-1]
