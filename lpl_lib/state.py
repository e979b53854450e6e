"""What a criterion knows of the data, kept whatever its module is cast to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn


class FullPrecision(nn.Module):
    """A module whose buffers, and those of its parts, stay in float32 or better.

    ``.half()``, ``.bfloat16()`` and the like, on it or on a model that holds it, would
    round priors, margins and running statistics: a count stops growing at 256 in bfloat16.
    Here such a cast moves buffers to another device but leaves their precision.

    >>> module = FullPrecision()
    >>> module.register_buffer("prior", torch.tensor([0.1]))
    >>> module.bfloat16().prior
    tensor([0.1000])
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = [
            (part._buffers, name, buffer)
            for part in self.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None
        ]
        super()._apply(fn, recurse)
        for buffers, name, old in before:
            new: Any = buffers[name]
            if new.dtype.is_floating_point and new.dtype.itemsize < 4:
                buffers[name] = old.to(new.device)
        return self
