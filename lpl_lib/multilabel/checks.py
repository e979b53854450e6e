"""What the multi-label part asks of its inputs; refusals name the argument at fault."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_count, check_logits


def check_label_batch(
    logits: Tensor,
    targets: Tensor,
    num_labels: int | None = None,
    *,
    soft: bool = False,
    values: bool | None = None,
) -> None:
    """Check a batch of logits ``(B, K)``, floating, and targets ``(B, K)`` of 0 and 1.

    Args:
        num_labels: the number of labels that a perturbation was made for.
        soft: allow targets between 0 and 1.
        values: also read the values; ``None`` (default) does so on the CPU only, where
            it costs no synchronisation.

    Raises:
        ValueError: naming the argument, what it is and what it has to be.

    >>> check_label_batch(torch.zeros(2, 3), torch.tensor([0, 2]))
    Traceback (most recent call last):
    ...
    ValueError: targets must have shape (2, 3), one 0 or 1 for each image and
    label, got (2,)
    """
    check_logits(logits, num_labels)
    if not isinstance(targets, Tensor) or targets.dtype.is_complex:
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise ValueError(f"targets must be a tensor of 0 and 1, got {kind}")
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must have shape {tuple(logits.shape)}, one 0 or 1 for each image "
            f"and label, got {tuple(targets.shape)}"
        )
    if targets.device != logits.device:
        raise ValueError(
            f"targets are on {targets.device} but logits on {logits.device}: "
            "move both to one device"
        )
    if torch.compiler.is_compiling():
        return  # a look at values would break the graph
    if values if values is not None else logits.device.type == "cpu":
        check_target_values(targets, soft=soft)
        if not torch.isfinite(logits).all():
            bad = ~torch.isfinite(logits)
            row, column = (int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"logits must be finite, got {float(logits[row, column])} for sample "
                f"{row}, label {column} ({int(bad.sum())} such values in all)"
            )


def check_target_values(targets: Tensor, *, soft: bool = False) -> None:
    """Check that all targets are 0 or 1, or with ``soft`` between them.

    >>> check_target_values(torch.tensor([[0.0, 0.9]]))
    Traceback (most recent call last):
    ...
    ValueError: targets must be 0 or 1, got 0.9 for sample 0, label 1 (1 such value in all)
    """
    allowed = (targets >= 0) & (targets <= 1) if soft else (targets == 0) | (targets == 1)
    bad = ~allowed
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        count = int(bad.sum())
        raise ValueError(
            f"targets must be {'in [0, 1]' if soft else '0 or 1'}, got "
            f"{targets[row, column].item():.4g} for sample {row}, label {column} "
            f"({count} such value{'s' if count > 1 else ''} in all)"
        )


def check_label_counts(label_counts: ClassCounts, num_samples: int) -> Tensor:
    r"""Return the positives of each label, ``(K,)`` float64, all in (0, num_samples).

    Raises:
        ValueError: a label without a positive, or without a negative: its log-odds
            :math:`\log\frac{\pi}{1 - \pi}` are not finite.

    >>> check_label_counts([9, 10], num_samples=10)
    Traceback (most recent call last):
    ...
    ValueError: label_counts must be below num_samples = 10, got 10 for label 1, which so
    has no negative
    """
    counts = check_class_counts(label_counts, "label_counts")
    check_count(num_samples, "num_samples")
    if (counts >= num_samples).any():
        first = int((counts >= num_samples).nonzero()[0])
        raise ValueError(
            f"label_counts must be below num_samples = {num_samples}, got "
            f"{counts[first].item():g} for label {first}, which so has no negative"
        )
    return counts
