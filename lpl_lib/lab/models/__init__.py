"""Networks: from a few thousand parameters for digits to those of the paper."""

from lpl_lib.lab.models.by_name import build_model as build_model
from lpl_lib.lab.models.convolutional import CanvasNet as CanvasNet
from lpl_lib.lab.models.convolutional import SmallConvNet as SmallConvNet
from lpl_lib.lab.models.heads import CosineLinear as CosineLinear
from lpl_lib.lab.models.heads import Normalise as Normalise
from lpl_lib.lab.models.heads import last_linear as last_linear
from lpl_lib.lab.models.residual import CifarResNet as CifarResNet
