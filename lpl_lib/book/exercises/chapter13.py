"""The coding exercise of chapter 13: a table with a margin that costs no consistency."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker


def margins(prior: Tensor, s: float) -> Tensor:
    """Return the table ``(C, C)`` of LA whose own logits are ``log(prior + s)``."""
    table = prior.log().repeat(len(prior), 1)
    return table.diagonal_scatter((prior + s).log())


def _everywhere(prior: Tensor, s: float) -> Tensor:
    return (prior + s).log().repeat(len(prior), 1)


def _outside(prior: Tensor, s: float) -> Tensor:
    return prior.log().repeat(len(prior), 1) + s * torch.eye(len(prior))


def _columns(prior: Tensor, s: float) -> Tensor:
    return margins(prior, s).T


def _examples() -> list[tuple[Any, ...]]:
    small, large = torch.tensor([0.75, 0.25]), torch.tensor([0.6, 0.3, 0.1])
    return [(small, 0.0), (large, -0.05), (large, 0.3)]


check_margins = Checker(
    margins,
    _examples,
    {
        _everywhere: "The rivals keep log prior: s belongs to the diagonal alone.",
        _outside: "The s stands inside the logarithm.",
        _columns: "Row y is for samples labelled y, and holds an entry for each class.",
    },
)
