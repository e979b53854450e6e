"""Networks: from a few thousand parameters for digits to those of the paper."""

from lpl_lib.lab.models.by_name import build_model
from lpl_lib.lab.models.convolutional import SmallConvNet
from lpl_lib.lab.models.heads import CosineLinear, WithFeatures
from lpl_lib.lab.models.residual import CifarResNet

__all__ = [
    "CifarResNet",
    "CosineLinear",
    "SmallConvNet",
    "WithFeatures",
    "build_model",
]
