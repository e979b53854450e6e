"""Class counts from a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from lpl_lib.checks import check_in_range

_COLUMNS = ("targets", "labels", "label")  # torchvision and MedMNIST; Hugging Face


def class_counts(dataset: Any, num_classes: int | None = None) -> Tensor:
    """Return how many samples each class has, ``(C,)``, int64, in the labels' order.

    Args:
        dataset: the training set: with its labels in ``targets``, ``labels`` or a column
            ``"labels"`` or ``"label"`` (torchvision, MedMNIST, Hugging Face); a
            ``Subset`` of one; or the labels themselves, one integer a sample.
        num_classes: ``C``; default: the length of ``dataset.classes``, else one more than
            the largest label.

    Raises:
        ValueError: no labels are found, or they are not integers from 0 to ``C - 1``.

    >>> class_counts([0, 2, 0], num_classes=4)
    tensor([2, 0, 1, 0])
    """
    labels = _labels(dataset)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
        raise ValueError(
            "dataset must have one integer label a sample, got "
            f"{labels.dtype} of shape {tuple(labels.shape)}"
        )
    if num_classes is None:
        known = getattr(getattr(dataset, "dataset", dataset), "classes", None)
        num_classes = len(known) if known else int(labels.max()) + 1
    check_in_range(labels.long(), num_classes)
    return torch.bincount(labels.long(), minlength=num_classes)


def _labels(dataset: Any) -> Tensor:
    if isinstance(dataset, Subset):
        return _labels(dataset.dataset)[torch.as_tensor(dataset.indices)]
    columns = getattr(dataset, "column_names", ())
    for name in _COLUMNS:
        if name in columns:
            return torch.as_tensor(dataset[name][:])
        if hasattr(dataset, name):
            return torch.as_tensor(getattr(dataset, name))
    if isinstance(dataset, Dataset):
        raise ValueError(
            f"dataset must have its labels in one of {list(_COLUMNS)}, got "
            f"{type(dataset).__name__}; pass the labels themselves"
        )
    return torch.as_tensor(dataset)
