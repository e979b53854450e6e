"""A validation split of training data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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
    labels = targets.cpu().numpy()
    shuffler = np.random.RandomState(seed)
    kept, held = [], []
    classes, sizes = np.unique(labels, return_counts=True)
    if alone := classes[sizes < 2].tolist():
        raise ValueError(
            "every class must have at least two images to be split, but class "
            f"{', '.join(map(str, alone))} has one"
        )
    for c in classes:
        of_class = np.flatnonzero(labels == c)
        shuffler.shuffle(of_class)
        size = min(max(round(share * len(of_class)), 1), len(of_class) - 1)
        held.append(of_class[:size])
        kept.append(of_class[size:])
    return (
        torch.as_tensor(np.sort(np.concatenate(kept))),
        torch.as_tensor(np.sort(np.concatenate(held))),
    )
