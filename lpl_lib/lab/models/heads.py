"""The last layer: a cosine classifier, and finding the last layer of any net."""

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


class WithFeatures(nn.Module):
    """Any net, returning its logits together with the input of its last layer.

    ISDA needs both. The last layer is the last ``nn.Linear`` or :class:`CosineLinear`
    among the net's modules; nothing else is asked of the net.

    Raises:
        ValueError: a net without such a layer.

    >>> net = WithFeatures(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)))
    >>> logits, features = net(torch.zeros(5, 1, 2, 2))
    >>> logits.shape, features.shape, net.head.weight.shape
    (torch.Size([5, 2]), torch.Size([5, 3]), torch.Size([2, 3]))
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._name = head_name(net)
        self._seen: Tensor | None = None
        self.head.register_forward_pre_hook(self._look)

    @property
    def head(self) -> nn.Linear | CosineLinear:
        """The last layer."""
        return self.net.get_submodule(self._name)  # type: ignore[return-value]

    def _look(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, C)`` and features ``(B, A)``."""
        logits = self.net(images)
        features, self._seen = self._seen, None
        assert features is not None  # the head took part
        return logits, features


def head_name(net: nn.Module) -> str:
    """Return the name of the last linear layer among the modules of ``net``.

    >>> head_name(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    '2'
    """
    layers = [
        name
        for name, module in net.named_modules()
        if isinstance(module, (nn.Linear, CosineLinear))
    ]
    if not layers:
        raise ValueError(
            f"net must have a linear layer for its last, got none in {type(net).__name__}"
        )
    return layers[-1]
