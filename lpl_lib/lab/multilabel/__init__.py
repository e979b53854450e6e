"""The multi-label experiment: canvases, a net for them, methods and runs."""

from lpl_lib.lab.multilabel.canvases import (
    LONG_TAIL,
    CanvasSets,
    canvas_sets,
    digit_canvases,
)
from lpl_lib.lab.multilabel.methods import METHODS, Method
from lpl_lib.lab.multilabel.net import CanvasNet

__all__ = [
    "LONG_TAIL",
    "METHODS",
    "CanvasNet",
    "CanvasSets",
    "Method",
    "canvas_sets",
    "digit_canvases",
]
