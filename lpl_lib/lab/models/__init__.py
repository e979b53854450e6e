"""Networks by name: small ones and those of the paper, others from torchvision."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from lpl_lib.lab.models.convolutional import CanvasNet as CanvasNet
from lpl_lib.lab.models.convolutional import SmallConvNet as SmallConvNet
from lpl_lib.lab.models.heads import CosineLinear as CosineLinear
from lpl_lib.lab.models.heads import Normalise as Normalise
from lpl_lib.lab.models.heads import last_linear as last_linear
from lpl_lib.lab.models.residual import CifarResNet as CifarResNet


def build_model(
    name: str,
    num_classes: int,
    channels: int = 3,
    *,
    cosine_scale: float | None = None,
    **options: Any,
) -> nn.Module:
    """Return an untrained net.

    Args:
        name: ``"small-conv"``, ``"canvas"``, ``"resnet-32"`` (any depth ``6 n + 2``), or
            the name of a classification net of torchvision, such as ``"resnet50"``.
        num_classes: ``C``.
        channels: of the images; torchvision's nets take 3.
        cosine_scale: put a :class:`~lpl_lib.lab.models.heads.CosineLinear` head with this
            scale in the place of the linear one; ``None`` leaves it.
        options: further arguments of the net, such as ``width=8`` of ``small-conv``.

    Raises:
        ValueError: an unknown name, option or depth; channels that a net does not take.

    >>> sum(part.numel() for part in build_model("resnet-110", 10).parameters())
    1727962
    """
    maker, arguments = _maker(name, channels)
    try:
        net = maker(num_classes=num_classes, **arguments, **options)
    except TypeError as error:
        raise ValueError(f"model {name!r} does not take {options}: {error}") from error
    if cosine_scale is not None:
        place, head = last_linear(net)
        net.set_submodule(place, CosineLinear(head.in_features, num_classes, cosine_scale))
    return net


def _maker(name: str, channels: int) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What makes the net, and the arguments that its name stands for."""
    if name == "small-conv":
        return SmallConvNet, {"channels": channels}
    if name == "canvas":
        return CanvasNet, {}
    if match := re.fullmatch(r"resnet-(\d+)", name):
        return CifarResNet, {"depth": int(match[1]), "channels": channels}
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(
            "name must be 'small-conv', 'canvas', 'resnet-<depth>' "
            f"or a classification net of torchvision, got {name!r}"
        )
    if channels != 3:
        raise ValueError(f"channels must be 3 for torchvision's {name}, got {channels}")
    return models.get_model_builder(name), {}
