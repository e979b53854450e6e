"""The coding exercise of chapter 16: average precision of one label."""

import torch

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.lab.label_metrics import average_precision

check_precision = Checker(
    "precision",
    lambda scores, targets: average_precision(scores[:, None], targets[:, None])[0],
    [
        (torch.tensor([0.5, 3.0, 1.0, 2.0]), torch.tensor([0, 1, 1, 0])),
        *((drawn(seed, 20), (drawn(seed + 10, 20) > 0.8).long()) for seed in range(3)),
    ],
    {
        "Begin with the highest score.": (
            lambda s, t: average_precision(-s[:, None], t[:, None])[0]
        ),
        "Average at the places of the positives only.": (
            lambda s, t: (t[(-s).argsort()].cumsum(0) / torch.arange(1, len(t) + 1)).mean()
        ),
    },
)
