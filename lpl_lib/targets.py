"""Targets in other forms: of pixels and tokens, with labels to leave out, and mixed.

Mix-up and CutMix make one sample of two: its loss is mixed of the two classes' losses,
each with its own class's perturbation. Label smoothing leaves a sample in its class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import (
    BaseLoss,
    check_devices,
    check_in_range,
    check_logits,
    checks_later,
    has_values,
    in_range,
    reads_values,
)

SAME_MASS = 1e-6  # target masses closer than this are equal: mixers work in float32


def as_rows(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits ``(B, C, d1, ...)`` as rows ``(N, C)``, and the targets beside them.

    Targets are ``(B, d1, ...)``, or probabilities of the logits' shape. Other shapes come
    back as they are, to be refused.

    >>> [x.shape for x in as_rows(torch.zeros(1, 2, 3), torch.tensor([[0, 1, 0]]))]
    [torch.Size([3, 2]), torch.Size([3])]
    """
    if targets.shape == logits.shape:
        targets = targets.movedim(1, -1).flatten(0, -2)
    elif targets.shape == logits.shape[:1] + logits.shape[2:]:
        targets = targets.flatten()
    else:
        return logits, targets
    return logits.movedim(1, -1).flatten(0, -2), targets


def counted(
    targets: Tensor,
    num_classes: int,
    ignore_index: float,
    *,
    asked: bool,
    values: bool | None,
) -> Tensor | None:
    """Return which rows count, ``(B,)`` bool, or ``None`` for all; check the others.

    Args:
        targets: ``(B,)``, int64.
        num_classes, values: as for :func:`lpl_lib.checks.check_batch`.
        ignore_index: the label of rows that do not count.
        asked: whether the user named it; only then the host waits for a GPU.

    Raises:
        ValueError: a label out of range among those that count.

    >>> counted(torch.tensor([1, -100]), 2, -100, asked=False, values=None)
    tensor([ True, False])
    """
    if not reads_values(targets, values):
        if asked and has_values(targets):
            return targets != ignore_index
        if checks_later(targets):
            message = f"targets must lie in [0, {num_classes - 1}], or name ignore_index"
            torch._assert_async(((targets >= 0) & (targets < num_classes)).all(), message)
        return None
    if not 0 <= ignore_index < num_classes and in_range(targets, num_classes):
        return None
    rows = targets != ignore_index
    check_in_range(targets[rows], num_classes)
    return rows


def unmix(targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Take mixed targets apart: the two classes of each sample, and the second's part.

    What all classes share is label smoothing; the two classes that stick out are ``a``
    and ``b``, and :math:`\lambda` is ``a``'s share of what sticks out. With two classes a
    smoothed label looks like a mixed one, and is taken for one.

    Args:
        targets: ``(B, C)``, floating: :math:`\lambda\, s(a) + (1 - \lambda)\, s(b)`.

    Returns:
        ``a`` and ``b``, each ``(B,)``, int64, equal where one class sticks out; and
        :math:`(1 - \lambda)\, s(b)`, ``(B, C)``.

    >>> a, b, part = unmix(torch.tensor([[0.65, 0.05, 0.25, 0.05], [0.1, 0.1, 0.7, 0.1]]))
    >>> a, b, part.round(decimals=4)  # smoothing 0.2 and lambda 0.75; smoothing 0.4
    (tensor([0, 2]), tensor([2, 2]), tensor([[0.0125, 0.0125, 0.2125, 0.0125],
            [0.0000, 0.0000, 0.0000, 0.0000]]))
    """
    num_classes = targets.shape[1]
    floor = targets.amin(1, keepdim=True)
    if num_classes < 3:
        floor = torch.zeros_like(floor)  # here the least is b's own share
    mass, classes = (targets - floor).topk(min(2, num_classes), dim=1)
    major, minor, rest = classes[:, 0], classes[:, -1], mass[:, -1]
    one_class = (rest <= SAME_MASS) | (major == minor)
    rest = torch.where(one_class, 0.0, rest)
    share = rest / (mass[:, 0] + rest).clamp(min=torch.finfo(mass.dtype).tiny)
    part = share[:, None] * floor
    part = part.expand_as(targets).scatter_add(1, minor[:, None], rest[:, None])
    return major, torch.where(one_class, major, minor), part


@torch.no_grad()
def check_linear(base_loss: BaseLoss, logits: Tensor, targets: Tensor) -> None:
    """Check that a base loss is linear in its targets, on one sample of the batch: that
    the loss of a mixed sample is that of its parts."""
    u, whole = logits[:1], targets[:1]
    parts = (0.3 * whole, 0.7 * whole)
    difference = base_loss(u, whole) - sum(base_loss(u, part) for part in parts)
    if not bool((difference.abs() <= 1e-3 * (1 + base_loss(u, whole).abs())).all()):
        raise ValueError(
            "base_loss must be linear in mixed targets, as cross-entropy without label "
            f"smoothing is, got {base_loss!r}: smooth the targets where they are mixed, as "
            "timm's Mixup(label_smoothing=...) does, and leave other losses to hard labels"
        )


def check_mixed(
    logits: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    *,
    values: bool | None = None,
) -> None:
    """Check logits ``(B, C)`` and class probabilities ``(B, C)`` of at most two classes;
    arguments and errors as for :func:`lpl_lib.checks.check_batch`."""
    check_logits(logits, num_classes)
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must be integer labels ({len(logits)},), or class probabilities of "
            f"the shape of logits, {tuple(logits.shape)}, got {targets.dtype} of shape "
            f"{tuple(targets.shape)}"
        )
    check_devices(logits, targets)
    if not reads_values(logits, values):
        return
    sums = targets.sum(1)
    if not bool((targets >= 0).all() and ((sums - 1).abs() < 1e-3).all()):
        raise ValueError(
            "targets must be class probabilities, each row >= 0 and 1 in sum, got "
            f"values from {float(targets.min()):g} to {float(targets.max()):g} and sums "
            f"from {float(sums.min()):g} to {float(sums.max()):g}; several labels a sample "
            'are for task="multilabel"'
        )
    above = (targets - targets.amin(1, keepdim=True) > 1e-4).sum(1)
    if targets.shape[1] > 2 and int(above.min()) == 0:
        raise ValueError(
            "targets must single out a class, got the same share for all in sample "
            f"{int(above.argmin())}: it belongs to no class"
        )
    if int(above.max()) > 2:
        row = int(above.argmax())
        raise ValueError(
            "targets must mix at most two classes (over a floor that all classes share, "
            f"of label smoothing), got {int(above[row])} in sample {row}: a teacher's "
            "soft labels belong to no class; add their loss on the plain logits instead"
        )
