"""The coding exercise of chapter 13: a table with a margin that costs no consistency."""

import torch

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.theory.tables import consistent_table

THREE = torch.tensor([0.6, 0.3, 0.1])
check_margins = Checker(
    "margins",
    lambda prior, s: consistent_table(prior, s),
    [(torch.tensor([0.75, 0.25]), 0.0), (THREE, -0.05), (THREE, 0.3)],
    {
        "The rivals keep log prior: s belongs to the diagonal alone.": (
            lambda prior, s: (prior + s).log().repeat(len(prior), 1)
        ),
        "The s stands inside the log.": lambda v, s: v.log() + s * torch.eye(len(v)),
        "Row y is for samples labelled y.": lambda prior, s: consistent_table(prior, s).T,
    },
)
