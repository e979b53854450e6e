"""Experiments: data, models, one training loop, methods, runs and their records."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpl_lib.lab.data import (
        LabelledImages,
        canvas_sets,
        data_folder,
        digits,
        flip_labels,
        hold_out,
        image_folder,
        long_tail_counts,
        long_tail_indices,
        read_folder,
    )
    from lpl_lib.lab.models import CanvasNet, CifarResNet, SmallConvNet
    from lpl_lib.lab.training import best_device, fit, predict

# fmt: off
__all__ = [
    "CanvasNet", "CifarResNet", "LabelledImages", "SmallConvNet", "best_device",
    "canvas_sets", "data_folder", "digits", "fit", "flip_labels", "hold_out",
    "image_folder", "long_tail_counts", "long_tail_indices", "predict", "read_folder",
]
# fmt: on

_PLACES = {"CanvasNet": "models", "CifarResNet": "models", "SmallConvNet": "models"}
_PLACES |= {"best_device": "training", "fit": "training", "predict": "training"}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: who reads records needs no trainer."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'data')}"), name)
