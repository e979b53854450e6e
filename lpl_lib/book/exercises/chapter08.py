"""The coding exercise of chapter 8: logit adjustment after training."""

import torch

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.perturbations import log_prior

COUNTS = torch.tensor([400.0, 100.0, 20.0, 4.0])
check_decide = Checker(
    "decide",
    lambda logits, counts: (logits - log_prior(counts)).argmax(1),
    [
        (torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([90.0, 10.0])),
        *((drawn(seed, 12, 4, scale=2.0), COUNTS) for seed in range(3)),
    ],
    {
        "Added is for training; after training the prior is subtracted.": (
            lambda u, n: (u + log_prior(n)).argmax(1)
        ),
        "Logits are logarithms: take the logarithm of the prior.": (
            lambda u, n: (u - n / n.sum()).argmax(1)
        ),
    },
)
