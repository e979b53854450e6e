"""Networks: from a few thousand parameters for digits to those of the paper."""

from lpl_lib.models.by_name import build_model
from lpl_lib.models.convolutional import SmallConvNet
from lpl_lib.models.heads import CosineLinear, WithFeatures
from lpl_lib.models.residual import CifarResNet
from lpl_lib.models.wide import WideResNet

__all__ = [
    "CifarResNet",
    "CosineLinear",
    "SmallConvNet",
    "WideResNet",
    "WithFeatures",
    "build_model",
]
