"""Handwritten digits: real images that need no download."""

from __future__ import annotations

import torch

from lpl_lib.lab.data.images import LabelledImages


def digits(
    test_share: float = 1 / 3, seed: int = 0
) -> tuple[LabelledImages, LabelledImages]:
    """Return a training and a test set of real handwritten digits, without a download.

    1,797 scans of 8 x 8 pixels in ten classes, from the UCI set "Optical recognition of
    handwritten digits" as scikit-learn carries it. Pixels are scaled to [0, 1]. The
    split keeps the classes' shares.

    Args:
        test_share: share of the images in the test set, between 0 and 1.
        seed: of the split.

    Raises:
        ValueError: a share that leaves one of the sets empty.

    >>> train, test = digits()
    >>> train.images.shape, len(test.targets)
    (torch.Size([1198, 1, 8, 8]), 599)
    """
    # here, not above: who uses the losses alone need not wait for these imports
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    everything = LabelledImages(images, torch.tensor(labels, dtype=torch.int64))
    train, test = train_test_split(
        torch.arange(len(labels)), test_size=test_share, random_state=seed, stratify=labels
    )
    return everything.subset(train), everything.subset(test)
