"""Random examples for the checkers, the same at each call."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Return normal numbers of standard deviation ``scale``, ``shape``, float32.

    >>> drawn(0, 2, 3).shape
    torch.Size([2, 3])
    """
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator)


def labels(seed: int, number: int, classes: int) -> Tensor:
    """Return ``number`` labels below ``classes``, int64.

    >>> bool((labels(0, 9, 4) < 4).all())
    True
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, (number,), generator=generator)
