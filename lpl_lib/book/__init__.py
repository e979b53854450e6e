"""What only the chapters need: here size, claims and pictures; the modules have exercises
with checkers, and the theory's numbers."""

from __future__ import annotations

import os
import textwrap
from contextlib import suppress
from typing import Literal, TypeVar, get_args

import seaborn as sns

T = TypeVar("T")
Size = Literal["smoke", "default", "full"]
Status = Literal[
    "proved",
    "verified numerically",
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "refuted as stated",
    "conjecture",
]

STATUSES: tuple[str, ...] = get_args(Status)

# Okabe and Ito's colours, told apart by readers with any colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#333333",
)
# one colour for each of the main methods, in all chapters
COLOUR_OF = {
    "cross-entropy": BLACK,
    "LDAM": BLUE,
    "LDAM-DRW": BLUE,
    "LA": ORANGE,
    "post-hoc LA": PURPLE,
    "LPL": RED,
    "LA + LPL": GREEN,
}


def size() -> Size:
    """Return how large the experiments of a chapter are to be.

    The environment variable ``LPL_SIZE`` says ``smoke`` (tests: seconds), ``default``
    (a laptop: a minute or two a chapter) or ``full`` (a GPU).

    Raises:
        ValueError: the variable has another value.
    """
    value = os.environ.get("LPL_SIZE", "default")
    if value not in get_args(Size):
        raise ValueError(f"LPL_SIZE must be one of {get_args(Size)}, got {value!r}")
    return value  # type: ignore[return-value]


def by_size(*, smoke: T, default: T, full: T) -> T:
    """Return the argument that the current :func:`size` names.

    >>> by_size(smoke=2, default=10, full=50) in (2, 10, 50)
    True
    """
    return {"smoke": smoke, "default": default, "full": full}[size()]


def claim(number: str, statement: str, holds: bool, *, status: Status, source: str) -> None:
    """Check a claim of the book and print it; the ledger of claims collects them.

    Args:
        number: chapter and number, ``C6.2``.
        statement: one sentence, the same at every size.
        holds: the outcome of the check in this cell.
        status: how well the claim stands.
        source: where it comes from: an equation, a slide, or this book.

    Raises:
        AssertionError: the check came out false.
        ValueError: an unknown status.

    >>> claim("C0.1", "Two is even.", 2 % 2 == 0, status="proved", source="arithmetic")
    C0.1 holds: Two is even.
         [proved; arithmetic]
    """
    if status not in STATUSES:
        raise ValueError(f"status must be one of {STATUSES}, got {status!r}")
    if not holds:
        raise AssertionError(f"{number} does not hold: {statement}")
    lines = textwrap.wrap(f"{number} holds: {statement}", 72, subsequent_indent=" " * 5)
    print(*lines, f"     [{status}; {source}]", sep="\n")


def use_book_style() -> None:
    """Set the look of all figures: crisp on any screen, the same on any machine."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=COLOURS,
        rc={
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.figsize": (7.2, 3.6),
            "grid.color": "#e6e6e6",
            "legend.frameon": False,
            "lines.linewidth": 2.0,
            "svg.hashsalt": "lpl",  # the same names inside an SVG at each run
        },
    )
    with suppress(ImportError):  # outside a notebook there is nothing to set
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
