"""Long-tailed subsets of any labelled set, by the protocol of long-tail CIFAR."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lpl_lib.checks import check_count, check_number


def long_tail_counts(max_count: int, num_classes: int, imbalance_ratio: float) -> list[int]:
    r"""Return the class sizes of the long-tail CIFAR protocol, head to tail.

    .. math:: n_c = \lfloor n_{\max} \, \rho^{\,c / (C - 1)} \rfloor, \qquad
              \rho = 1 / \text{imbalance ratio}

    Args:
        max_count: :math:`n_{\max}`, size of the largest class.
        num_classes: ``C``.
        imbalance_ratio: largest over smallest class, >= 1.

    Source: Cui et al. 2019, Cao et al. 2019.

    Raises:
        ValueError: a ratio below 1, or one that leaves the last class without an image.

    >>> long_tail_counts(5000, 10, imbalance_ratio=100)
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    check_count(max_count, "max_count")
    check_count(num_classes, "num_classes")
    check_number(imbalance_ratio, "imbalance_ratio", minimum=1)
    rho = 1 / imbalance_ratio
    last = max(num_classes - 1, 1)
    # 49 * (1 / 49) is 0.99... in binary; it stands for one image all the same
    counts = [int(max_count * rho ** (c / last) + 1e-9) for c in range(num_classes)]
    if counts[-1] < 1:
        raise ValueError(
            f"imbalance_ratio must be at most {max_count}, the size of the largest "
            f"class, got {imbalance_ratio:g}: the last class would be empty"
        )
    return counts


def long_tail_indices(
    targets: Tensor,
    imbalance_ratio: float,
    *,
    num_classes: int | None = None,
    max_count: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Return the indices of a long-tailed subset of any labelled set, sorted.

    Class 0 is the largest, class ``C - 1`` the smallest, with the sizes of
    :func:`long_tail_counts`. Images are drawn without replacement, by shuffling each
    class in turn with one seeded generator: the draw of LDAM's protocol.

    Args:
        targets: ``(N,)``, integer labels in ``[0, C)``.
        imbalance_ratio: largest over smallest class, >= 1.
        num_classes: default, the largest label plus one.
        max_count: size of class 0; default, the size of the set's smallest class, so
            that every class can give what is asked.
        seed: of the draw. Results move with the subset: publish it, or the indices.

    Raises:
        ValueError: labels out of range, a class with fewer images than asked for, a
            ratio that :func:`long_tail_counts` refuses.

    >>> balanced = torch.arange(1000) % 10
    >>> chosen = long_tail_indices(balanced, imbalance_ratio=50)
    >>> torch.bincount(balanced[chosen]).tolist()
    [100, 64, 41, 27, 17, 11, 7, 4, 3, 2]
    """
    labels = torch.as_tensor(targets).cpu()
    if labels.ndim != 1 or len(labels) == 0 or labels.is_floating_point():
        raise ValueError(
            "targets must be a non-empty one-dimensional tensor of integer labels, "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(
            f"targets must lie in [0, {num_classes - 1}], got labels from "
            f"{int(labels.min())} to {int(labels.max())}"
        )
    available = torch.bincount(labels, minlength=num_classes).tolist()
    most = max(min(available), 1) if max_count is None else max_count
    wanted = long_tail_counts(most, num_classes, imbalance_ratio)
    for c, (have, want) in enumerate(zip(available, wanted, strict=True)):
        if have < want:
            raise ValueError(
                f"class {c} has {have} images but an imbalance_ratio of "
                f"{imbalance_ratio:g} from max_count {wanted[0]} asks for {want}"
            )
    shuffler = np.random.RandomState(seed)
    chosen = []
    for c, want in enumerate(wanted):
        of_class = np.flatnonzero(labels.numpy() == c)
        shuffler.shuffle(of_class)
        chosen.append(of_class[:want])
    return torch.as_tensor(np.sort(np.concatenate(chosen)))
