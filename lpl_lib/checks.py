"""What the library asks of its inputs, each refusal naming the argument at fault.

Shapes and types cost nothing. *Values* (labels in range, logits finite) would make the
host wait for a GPU, so they are read on the CPU, and elsewhere on request; unasked, a
GPU checks the labels by itself and stops at a later call.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, SupportsIndex

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

Task = Literal["multiclass", "multilabel"]
"""One class a sample, or any number of labels a sample."""

BaseLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits ``(B, C)`` and targets ``(B,)``, or floating ``(B, C)``, to a loss."""

ClassCounts = Sequence[float] | Mapping[int, float] | Tensor
"""Training images per class: a sequence, array or tensor of ``C`` positive numbers, class
by class; or a mapping (a ``Counter``, a pandas ``Series``) from the labels 0 to C - 1."""

LARGEST_COUNT = 1e15  # of images; float64 tells neighbours apart up to there
LARGEST_NUMBER = 1e6  # of nats, steps, weights: beyond it float32 logits mean nothing


def check_class_counts(class_counts: ClassCounts, name: str = "class_counts") -> Tensor:
    """Return the counts as a float64 CPU tensor of shape ``(C,)``.

    Raises:
        ValueError: not one-dimensional, empty, or a count that is not in (0, 1e15]; keys
            of a mapping that are not the labels.

    >>> check_class_counts({1: 5, 0: 50})
    tensor([50.,  5.], dtype=torch.float64)
    >>> check_class_counts([50, 0])
    Traceback (most recent call last):
    ...
    ValueError: class_counts must be positive and finite, got 0.0 for class 1 ...
    """
    given: Any = class_counts
    if hasattr(given, "to_dict"):  # a pandas Series goes by its index
        given = given.to_dict()
    if isinstance(given, Mapping):
        if set(given) != set(range(len(given))):
            raise ValueError(
                f"{name} must be keyed by the labels 0 to {max(len(given) - 1, 0)}, got "
                f"{list(given)[:5]}: put named classes into the order of their labels, as "
                "[counts[name] for name in dataset.classes]"
            )
        given = [given[label] for label in range(len(given))]
    try:
        given = given.tolist() if hasattr(given, "tolist") else given  # of NumPy, a copy
        counts = torch.as_tensor(given, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a list with one count per class, got {class_counts!r}"
        ) from error
    if counts.ndim != 1 or counts.numel() == 0:
        raise ValueError(
            f"{name} must be a non-empty one-dimensional list with one count per "
            f"class, got shape {tuple(counts.shape)}"
        )
    bad = ~((counts > 0) & (counts <= LARGEST_COUNT))
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{name} must be positive and finite, got {counts[first].item()} "
            f"for class {first} (at most {LARGEST_COUNT:g})"
        )
    return counts


def check_number(
    value: float, name: str, *, minimum: float = 0.0, strict: bool = False
) -> float:
    """Return ``value`` as a float >= ``minimum`` (``strict``: above it), up to 1e6."""
    if isinstance(value, str):  # float() would take it
        raise ValueError(f"{name} must be a number such as 0.1, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}") from error
    in_range = number > minimum if strict else number >= minimum
    if not (math.isfinite(number) and in_range):
        least = f"{'>' if strict else '>='} {minimum:g}"
        raise ValueError(f"{name} must be a finite number {least}, got {value}")
    if number > LARGEST_NUMBER:
        raise ValueError(f"{name} must be at most {LARGEST_NUMBER:g}, got {value}")
    return number


def check_count(value: int, name: str, *, minimum: int = 1) -> int:
    """Return ``value``, an integer of at least ``minimum``."""
    whole = isinstance(value, SupportsIndex) and not isinstance(value, bool)
    if not whole or operator.index(value) < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return operator.index(value)


def check_batch(
    logits: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    *,
    values: bool | None = None,
) -> None:
    """Check a batch of logits ``(B, C)``, floating, and targets ``(B,)``, integer.

    Args:
        num_classes: the number of classes that a perturbation was made for.
        values: also read the values: targets in ``[0, C)``, logits finite. ``None``
            (default) does so on the CPU only, where it costs no synchronisation.

    Raises:
        ValueError: naming the argument, what it is and what it has to be.

    >>> check_batch(torch.zeros(2, 3), torch.tensor([0, 3]))
    Traceback (most recent call last):
    ...
    ValueError: targets must lie in [0, 2], got labels from 0 to 3; a label to leave out ...
    """
    check_logits(logits, num_classes)
    kind: Any = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
    whole = isinstance(targets, Tensor) and not (kind.is_floating_point or kind.is_complex)
    if not whole or kind == torch.bool:
        raise ValueError(
            f"targets must be a tensor of integer labels, got {kind}; for one-hot "
            "targets pass targets.int().argmax(1)"
        )
    if targets.shape != logits.shape[:1]:
        remedy = "; for one-hot targets pass targets.argmax(1)" if targets.ndim == 2 else ""
        raise ValueError(
            f"targets must have shape ({len(logits)},), one label for each row of "
            f"logits {tuple(logits.shape)}, got {tuple(targets.shape)}{remedy}"
        )
    check_devices(logits, targets)
    if reads_values(logits, values):
        check_in_range(targets.long(), logits.shape[1])
        check_finite(logits)


def in_range(targets: Tensor, num_classes: int) -> bool:
    """Whether all labels lie in ``[0, num_classes)``; a look at their values."""
    if not targets.shape[0]:
        return True
    low, high = torch.aminmax(targets)
    return int(low) >= 0 and int(high) < num_classes


def check_in_range(targets: Tensor, num_classes: int) -> None:
    """Check that int64 labels lie in ``[0, num_classes)``; a look at their values."""
    if not in_range(targets, num_classes):
        raise ValueError(
            f"targets must lie in [0, {num_classes - 1}], got labels from "
            f"{int(targets.min())} to {int(targets.max())}; a label to leave out is "
            "PerturbedLoss's ignore_index"
        )


def check_label_batch(
    logits: Tensor,
    targets: Tensor,
    num_labels: int | None = None,
    *,
    soft: bool = False,
    values: bool | None = None,
) -> None:
    """Check a batch of logits ``(B, K)``, floating, and targets ``(B, K)`` of 0 and 1, or
    with ``soft`` between them; the rest as for :func:`check_batch`."""
    check_logits(logits, num_labels)
    if not isinstance(targets, Tensor) or targets.dtype.is_complex:
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise ValueError(f"targets must be a tensor of 0 and 1, got {kind}")
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must have shape {tuple(logits.shape)}, one 0 or 1 for each image "
            f"and label, got {tuple(targets.shape)}"
        )
    check_devices(logits, targets)
    if reads_values(logits, values):
        check_label_values(targets, soft=soft)
        check_finite(logits)


def is_label(targets: Tensor, *, soft: bool = False) -> Tensor:
    """Which targets are 0 or 1, or with ``soft`` between them; NaN is not."""
    nearest = targets.clamp(0, 1)
    return targets == (nearest if soft else nearest.round())


def check_label_values(targets: Tensor, *, soft: bool = False) -> None:
    """Check that all targets are 0 or 1, or with ``soft`` between them."""
    allowed = is_label(targets, soft=soft)
    if not allowed.all():
        row, column = (int(i) for i in (~allowed).nonzero()[0])
        raise ValueError(
            f"targets must be {'in [0, 1]' if soft else '0 or 1'}, got "
            f"{targets[row, column].item():.4g} for sample {row}, label {column}"
        )


def check_label_counts(label_counts: ClassCounts, num_samples: int) -> Tensor:
    """Return the positives of each label, ``(K,)`` float64, all in (0, num_samples)."""
    counts = check_class_counts(label_counts, "label_counts")
    check_count(num_samples, "num_samples")
    if (counts >= num_samples).any():
        first = int((counts >= num_samples).nonzero()[0])
        raise ValueError(
            f"label_counts must be below num_samples = {num_samples}, got "
            f"{counts[first].item():g} for label {first}, which so has no negative"
        )
    return counts


def check_logits(logits: Tensor, num_classes: int | None = None) -> None:
    """Check that ``logits`` is a non-empty floating tensor ``(B, C)``."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        wrapped = "; pass its .logits" if hasattr(logits, "logits") else ""
        raise ValueError(f"logits must be a floating-point tensor, got {kind}{wrapped}")
    empty = logits.shape[:1] == (0,) and not several_processes()  # one may have run out
    if logits.ndim != 2 or empty or logits.shape[1] == 0:
        raise ValueError(
            "logits must have shape (B, C) with at least one sample and one class, "
            f"got {tuple(logits.shape)}"
        )
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(
            f"logits have {logits.shape[1]} classes (columns), but the perturbation "
            f"was made for {num_classes}"
        )


def check_devices(logits: Tensor, targets: Tensor) -> None:
    """Check that both are on one device."""
    if targets.device != logits.device:
        raise ValueError(
            f"targets are on {targets.device} but logits on {logits.device}: move one"
        )


def check_shift(logits: Tensor, delta: Tensor) -> None:
    """Check that ``delta`` has the logits' shape."""
    if delta.shape != logits.shape:
        raise ValueError(
            f"delta must have the shape of logits, {tuple(logits.shape)}, "
            f"got {tuple(delta.shape)}"
        )


def several_processes(group: Any = None) -> bool:
    """Whether ``torch.distributed`` runs, with more than one process in the group."""
    running = dist.is_available() and dist.is_initialized()
    return running and dist.get_world_size(group) > 1


def has_values(tensor: Tensor) -> bool:
    """Whether there are values: not in a meta or fake tensor, compiling, under ``vmap``."""
    return not (
        tensor.is_meta
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or (type(tensor) is not Tensor and isinstance(tensor, FakeTensor))
    )


def reads_values(logits: Tensor, wanted: bool | None) -> bool:
    """Whether to look at values: as wanted, by default where no GPU does so by itself."""
    return (not logits.is_cuda if wanted is None else wanted) and has_values(logits)


def checks_later(tensor: Tensor) -> bool:
    """Whether a GPU (CUDA, ROCm) can check a condition while the host goes on."""
    return tensor.is_cuda and has_values(tensor)


def check_finite(logits: Tensor) -> None:
    """Check that all logits are finite numbers; on a GPU this waits for the device."""
    # One reduction settles the usual case; a sum that overflows is looked at again.
    if not math.isfinite(float(logits.detach().sum())):
        bad = ~torch.isfinite(logits)
        if bad.any():
            row, column = (int(i) for i in bad.nonzero()[0])
            value = float(logits.detach()[row, column])
            raise ValueError(
                f"logits must be finite, got {value} for sample "
                f"{row}, class {column} ({int(bad.sum())} such values in all)"
            )
