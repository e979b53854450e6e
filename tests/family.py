"""The perturbations of the field side by side: the table of chapter 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lpl_lib import ISDA, LDAM, LPL, VS, LogitAdjustment, Perturbation
from lpl_lib.lab.rivals import GCL, Equalization, Seesaw

Counts = Sequence[float]


@dataclass(frozen=True)
class Member:
    r"""A perturbation, and what is true of it for three classes or more.

    Attributes:
        name: as the book calls it.
        delta: row ``y`` of its table, or how to make it, in Markdown.
        make: maps class counts and the net's last layer to it.
        of_class: whether all samples of a class get the same vector; of a random one, in
            the mean.
        loss: whether it raises every sample's loss, lowers it, or does both.
        consistent: for which error its table is, for unequal counts; "no table" where it
            is not one.
        how: the table is fixed before training, drawn at random, or learned in training.
    """

    name: str
    delta: str
    make: Callable[[Counts, nn.Linear], Perturbation]
    of_class: bool
    loss: Literal["raised", "lowered", "both"]
    consistent: Literal["balanced", "none", "no table"]
    how: Literal["fixed", "random", "learned"]


# fmt: off
FAMILY = [
    Member("LA", r"$\log \pi$", lambda counts, head: LogitAdjustment(counts),
           True, "both", "balanced", "fixed"),
    Member("LA with a margin", r"$\log \pi + \log(1 + s / \pi_y)\, e_y$",
           lambda n, head: LogitAdjustment(n, shift=-0.5 * min(n) / sum(n)),
           True, "both", "balanced", "fixed"),
    Member("LDAM", r"$-m_y\, e_y$", lambda counts, head: LDAM(counts),
           True, "raised", "none", "fixed"),
    Member("ISDA", r"$\frac{\lambda}{2} (w_k - w_y)^\top \Sigma_y (w_k - w_y)$",
           lambda counts, head: ISDA(head), True, "raised", "none", "learned"),
    Member("LPL",
           r"$\arg\max$ or $\arg\min$ of $\ell_y$, $\Vert\delta\Vert \le \varepsilon_y$",
           lambda counts, head: LPL(counts), True, "both", "none", "learned"),
    Member("seesaw, mitigation", r"$a \min(0, \log n_k / n_y)$",
           lambda counts, head: Seesaw(counts, compensation=0.0),
           True, "lowered", "none", "fixed"),
    Member("seesaw", r"the same $+\, b \max(0, \log p_k / p_y)$",
           lambda counts, head: Seesaw(counts), False, "both", "no table", "fixed"),
    Member("vector scaling", r"$(f - 1) \odot u + \log \pi$",
           lambda counts, head: VS(counts, gamma=0.3), False, "both", "no table", "fixed"),
    Member("equalization", r"$-\infty \text{ for rare } k \ne y$",
           lambda counts, head: Equalization(counts),
           True, "lowered", "no table", "random"),
    Member("GCL", r"$-\lvert\varepsilon_k\rvert \log (n_{\max} / n_k)$",
           lambda counts, head: GCL(counts), True, "both", "no table", "random"),
]
# fmt: on


def family_table() -> str:
    """Return the family as a table in Markdown, one row a perturbation.

    >>> family_table().splitlines()[4]
    '| LDAM | $-m_y\\\\, e_y$ | yes | raised | no error | fixed |'
    """
    names = {"balanced": "balanced error", "none": "no error"}
    head = "perturbation, vector *δ*, per class, loss, consistent for, table"
    rows = [head.split(", "), ["---"] * 6]
    for member in FAMILY:
        of_class = "yes" if member.of_class else "no"
        error = names.get(member.consistent, "not a table")
        row = [member.name, member.delta, of_class, member.loss, error, member.how]
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
