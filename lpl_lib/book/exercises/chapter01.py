"""The coding exercise of chapter 1: the loss variation of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.exercises.draws import drawn, labels


def variation(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return :math:`\Delta\ell` of each sample, ``(B,)``, for logits of any size."""
    return (logits.log_softmax(1) + _moved(delta, targets)).logsumexp(1)


def _moved(delta: Tensor, targets: Tensor) -> Tensor:
    return delta - delta.gather(1, targets[:, None])


def _first_order(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return (logits.softmax(1) * _moved(delta, targets)).sum(1)


def _overflows(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (p * _moved(delta, targets).exp()).sum(1).log()


def _without_own(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    return (logits.log_softmax(1) + delta).logsumexp(1)


LARGE = torch.tensor([[500.0, 0.0], [-500.0, 0.0]])
check_variation = Checker(
    variation,
    lambda: [
        *(
            (drawn(k, 5, 4, scale=2.0), labels(k, 5, 4), drawn(k + 10, 5, 4))
            for k in (0, 1)
        ),
        (LARGE, torch.tensor([0, 0]), torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])),
    ],
    {
        _first_order: "The mean of the exponentials is missing: that is first order only.",
        _overflows: "Exponentials of large logits overflow: use log_softmax or logsumexp.",
        _without_own: "The label's own entry of delta is not subtracted.",
    },
)
