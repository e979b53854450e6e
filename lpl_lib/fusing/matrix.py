"""What composes with what: every pair of methods, trained for a few steps."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

from lpl_lib.data import LabelledImages
from lpl_lib.fusing.methods import METHODS, fuse
from lpl_lib.fusing.training import train

STEPS, WIDTH, ENDS = 50, 4, 10


class Cell(NamedTuple):
    """How a pair of methods came out.

    Attributes:
        works: loss and gradients stayed finite, and the loss fell.
        note: why it does not work, or what to mind; may be empty.
    """

    works: bool
    note: str = ""


def try_pair(first: str, second: str, data: LabelledImages) -> Cell:
    """Fuse two methods, or take one alone, and train for 50 steps.

    The loss fell if its mean over the last ten steps is below that over the first ten.
    """
    parts = [METHODS[name] for name in dict.fromkeys((first, second))]
    try:
        method = fuse(parts)
    except ValueError as error:
        return Cell(False, str(error))
    run = train(method, data, steps=STEPS, width=WIDTH)
    fell = sum(run.losses[-ENDS:]) < sum(run.losses[:ENDS])
    twice = len(parts) == 2 and all(part.corrects_prior for part in parts)
    return Cell(run.finite and fell, "corrects the prior twice" if twice else "")


def compose_matrix(data: LabelledImages) -> dict[tuple[str, str], Cell]:
    """Return the outcome of every unordered pair of methods, cross-entropy left out."""
    names = [name for name in METHODS if name != "cross-entropy"]
    pairs = combinations_with_replacement(names, 2)
    return {pair: try_pair(*pair, data) for pair in pairs}
