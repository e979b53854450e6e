"""Accuracy per class and per group of classes."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_batch, check_class_counts


def class_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the top-1 accuracy of each class, ``(C,)`` in [0, 1]; NaN where absent.
    Logits are ``(N, C)``, targets ``(N,)``, integer.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    >>> class_accuracy(logits, torch.tensor([0, 1, 1]))
    tensor([1.0000, 0.5000,    nan])
    """
    check_batch(logits, targets)
    targets = targets.long()
    right = targets[logits.argmax(1) == targets]
    size = logits.shape[1]
    # 0 / 0 is NaN: an absent class has no accuracy
    return torch.bincount(right, minlength=size) / torch.bincount(targets, minlength=size)


def balanced_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Return the mean accuracy over the classes present, in [0, 1].

    >>> balanced_accuracy(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 0, 1]))
    0.5
    """
    return float(class_accuracy(logits, targets).nanmean())


def frequency_groups(
    class_counts: ClassCounts, *, head_above: float = 100, tail_below: float = 20
) -> dict[str, Tensor]:
    """Return the class indices of ``"head"``, ``"medium"`` and ``"tail"``.

    Head classes have more training images than ``head_above``, tail classes fewer than
    ``tail_below``. Source: the thresholds 100 and 20 are those of Liu et al. 2019 (OLTR).

    Raises:
        ValueError: ``head_above`` smaller than ``tail_below``.

    >>> frequency_groups([500, 100, 20, 5])["medium"]
    tensor([1, 2])
    """
    counts = check_class_counts(class_counts)
    if head_above < tail_below:
        raise ValueError(
            f"head_above must be at least tail_below, got {head_above} < {tail_below}"
        )
    head, tail = counts > head_above, counts < tail_below
    masks = {"head": head, "medium": ~(head | tail), "tail": tail}
    return {name: mask.nonzero()[:, 0] for name, mask in masks.items()}


def group_accuracy(
    logits: Tensor, targets: Tensor, groups: dict[str, Tensor]
) -> dict[str, float]:
    """Return the mean class accuracy of each group, and of all classes, in [0, 1].

    >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> group_accuracy(logits, torch.tensor([0, 1]), frequency_groups([500, 5]))
    {'all': 0.5, 'head': 1.0, 'medium': nan, 'tail': 0.0}
    """
    accuracy = class_accuracy(logits, targets)
    means = {name: float(accuracy[members].nanmean()) for name, members in groups.items()}
    return {"all": float(accuracy.nanmean()), **means}
