"""Experiments: data, models, one training loop, methods, runs and their records."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpl_lib.lab.data import LabelledImages as LabelledImages
    from lpl_lib.lab.data import canvas_sets as canvas_sets
    from lpl_lib.lab.data import data_folder as data_folder
    from lpl_lib.lab.data import digits as digits
    from lpl_lib.lab.data import flip_labels as flip_labels
    from lpl_lib.lab.data import hold_out as hold_out
    from lpl_lib.lab.data import long_tail_counts as long_tail_counts
    from lpl_lib.lab.data import long_tail_indices as long_tail_indices
    from lpl_lib.lab.data import read_folder as read_folder
    from lpl_lib.lab.models import CanvasNet as CanvasNet
    from lpl_lib.lab.models import CifarResNet as CifarResNet
    from lpl_lib.lab.models import SmallConvNet as SmallConvNet
    from lpl_lib.lab.training import best_device as best_device
    from lpl_lib.lab.training import fit as fit
    from lpl_lib.lab.training import predict as predict

_PLACES = {
    "models": ("CanvasNet", "CifarResNet", "SmallConvNet"),
    "training": ("best_device", "fit", "predict"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: who reads records needs no trainer."""
    place = next((place for place, names in _PLACES.items() if name in names), "data")
    found = vars(import_module(f"{__name__}.{place}"))
    if name.startswith("_") or name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]
