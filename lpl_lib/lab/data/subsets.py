"""Parts of any labelled set, drawn class by class: a long tail, a validation set."""

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
    targets: Tensor, imbalance_ratio: float, *, max_count: int | None = None, seed: int = 0
) -> Tensor:
    """Return the indices of a long-tailed subset of any labelled set, sorted.

    Class 0 is the largest, class ``C - 1`` the smallest, with the sizes of
    :func:`long_tail_counts`. Images are drawn without replacement, by shuffling each
    class in turn with one seeded generator: the draw of LDAM's protocol.

    Args:
        targets: ``(N,)``, integer labels; ``C`` is the largest plus one.
        imbalance_ratio: largest over smallest class, >= 1.
        max_count: size of class 0; default, the size of the set's smallest class, so
            that every class can give what is asked.
        seed: of the draw. Results move with the subset: publish it, or the indices.

    Raises:
        ValueError: no labels, or below 0; a class with fewer images than asked for, a
            ratio that :func:`long_tail_counts` refuses.

    >>> balanced = torch.arange(1000) % 10
    >>> chosen = long_tail_indices(balanced, imbalance_ratio=50)
    >>> torch.bincount(balanced[chosen]).tolist()
    [100, 64, 41, 27, 17, 11, 7, 4, 3, 2]
    """
    labels = torch.as_tensor(targets).cpu()
    integers = labels.ndim == 1 and len(labels) and not labels.is_floating_point()
    if not integers or labels.min() < 0:
        raise ValueError(
            "targets must be a non-empty one-dimensional tensor of integer labels from 0 "
            f"on, got {labels.dtype} of shape {tuple(labels.shape)}: {labels[:9].tolist()}"
        )
    available = torch.bincount(labels).tolist()
    most = max(min(available), 1) if max_count is None else max_count
    wanted = long_tail_counts(most, len(available), imbalance_ratio)
    for c, (have, want) in enumerate(zip(available, wanted, strict=True)):
        if have < want:
            raise ValueError(
                f"class {c} has {have} images but an imbalance_ratio of "
                f"{imbalance_ratio:g} from max_count {wanted[0]} asks for {want}"
            )
    shuffled = _by_class(labels, seed)
    return _sorted([shuffled[c][:want] for c, want in enumerate(wanted)])


def hold_out(targets: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split a labelled set in two, class by class; return the indices of both parts.

    Hyper-parameters are chosen on the part held out, so that the test set is seen once.
    To choose for a long-tailed problem, hold out first and draw the long tail from the
    rest: the validation set is then balanced, as that of ImageNet-LT is.

    Args:
        targets: ``(N,)``, integer labels.
        share: of each class that is held out, between 0 and 1; rounded, but at least
            one image of each class stays on either side.
        seed: of the draw.

    Returns:
        indices that are kept and that are held out, each sorted.

    Raises:
        ValueError: a share outside (0, 1); a class with a single image.

    >>> kept, held = hold_out(torch.tensor([0] * 8 + [1] * 2), share=0.25)
    >>> len(kept), torch.tensor([0] * 8 + [1] * 2)[held].tolist()
    (7, [0, 0, 1])
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    shuffled = _by_class(targets, seed)
    if alone := [str(c) for c, of_class in shuffled.items() if len(of_class) < 2]:
        raise ValueError(
            "every class must have at least two images to be split, but class "
            f"{', '.join(alone)} has one"
        )
    kept, held = [], []
    for of_class in shuffled.values():
        size = min(max(round(share * len(of_class)), 1), len(of_class) - 1)
        held.append(of_class[:size])
        kept.append(of_class[size:])
    return _sorted(kept), _sorted(held)


def _by_class(targets: Tensor, seed: int) -> dict[int, Tensor]:
    """The indices of each class's images, shuffled class by class with one generator."""
    labels, shuffler = targets.cpu().numpy(), np.random.RandomState(seed)
    found = {int(c): np.flatnonzero(labels == c) for c in np.unique(labels)}
    for of_class in found.values():
        shuffler.shuffle(of_class)
    return {c: torch.as_tensor(of_class) for c, of_class in found.items()}


def _sorted(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).sort().values
