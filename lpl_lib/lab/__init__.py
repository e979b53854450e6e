"""Experiments: data, models, one training loop, methods, runs and their records."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpl_lib.lab.data import LabelledImages as LabelledImages
    from lpl_lib.lab.data import canvas_sets as canvas_sets
    from lpl_lib.lab.data import digits as digits
    from lpl_lib.lab.data import long_tail_counts as long_tail_counts
    from lpl_lib.lab.data import long_tail_indices as long_tail_indices
    from lpl_lib.lab.models import CanvasNet as CanvasNet
    from lpl_lib.lab.models import SmallConvNet as SmallConvNet
    from lpl_lib.lab.training import best_device as best_device
    from lpl_lib.lab.training import fit as fit
    from lpl_lib.lab.training import predict as predict


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: who reads records needs no trainer."""
    for place in ("data", "models", "training") if name[0] != "_" else ():
        if name in (found := vars(import_module(f"{__name__}.{place}"))):
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
