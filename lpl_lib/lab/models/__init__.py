"""Networks: from a few thousand parameters for digits to those of the paper."""

from lpl_lib.lab.models.by_name import build_model
from lpl_lib.lab.models.canvas import CanvasNet
from lpl_lib.lab.models.convolutional import SmallConvNet
from lpl_lib.lab.models.heads import CosineLinear, Normalise, last_linear
from lpl_lib.lab.models.residual import CifarResNet

# fmt: off
__all__ = [
    "CanvasNet", "CifarResNet", "CosineLinear", "Normalise", "SmallConvNet", "build_model",
    "last_linear",
]
# fmt: on
