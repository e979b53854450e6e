"""The coding exercise of chapter 1: the loss variation of a batch."""

import torch

from lpl_lib.book.exercises.checker import Checker, drawn
from lpl_lib.variation import loss_variation

_LABELS = torch.tensor([2, 1, 1, 3, 0])
LARGE = torch.tensor([[500.0, 0.0], [-500.0, 0.0]])
check_variation = Checker(
    "variation",
    loss_variation,
    [
        *((drawn(k, 5, 4, scale=2.0), _LABELS, drawn(k + 10, 5, 4)) for k in (0, 1)),
        (LARGE, torch.tensor([0, 0]), torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])),
    ],
    {
        "Exponentials of large logits overflow: use log_softmax or logsumexp.": (
            lambda u, y, d: ((u + d).exp().sum(1) / u.exp().sum(1)).log() - d[:, y].diag()
        ),
        "The label's own entry of delta is not subtracted.": (
            lambda u, y, d: (u.log_softmax(1) + d).logsumexp(1)
        ),
    },
)
