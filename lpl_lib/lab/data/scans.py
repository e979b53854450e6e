"""Handwritten digits, alone or several on a canvas: real images without a download."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lpl_lib.checks import check_count
from lpl_lib.lab.data.images import LabelledImages

CELL, ROWS, COLUMNS = 9, 3, 4  # a digit of 8 x 8 pixels has some play in its cell
NUM_TRAIN, LONG_TAIL = 1000, (500, 324, 210, 136, 88, 57, 37, 24, 15, 10)
NOISE = 0.1  # deviation of the pixels' noise


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


class CanvasSets(NamedTuple):
    """Training, validation and test canvases, from three disjoint sets of scans."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def canvas_sets(
    seed: int = 0, *, num_test: int = 2000, cooccurrence: float = 0.2
) -> CanvasSets:
    r"""Return a long-tailed training set of canvases, a validation set and a test set.

    The label of a canvas of 27 x 36 pixels is the set of digits on it, which stand in free
    places. Of the 1,000 training canvases 500 show a 0, 324 a 1, ..., 10 a 9, so that with
    the usual limits of 100 and 20 four labels are head, four medium and two tail. Of
    validation and test canvases every label is on one fifth, so that the average precisions
    of labels can be compared. (The test sets of VOC-MLT and COCO-MLT are much flatter than
    their training sets, too.) Validation canvases are made from scans of the training half
    of the digits that no training canvas shows.

    Which digits are on a canvas comes from a Gaussian copula with exact counts: canvas
    ``i`` has a score :math:`z_{ik} = \sqrt\rho\, g_i + \sqrt{1 - \rho}\, g_{ik}` for
    label ``k``, and the :math:`n_k` canvases with the highest scores show it. All labels
    so have the counts that were asked for, and each pair co-occurs the more the larger
    :math:`\rho`. Some canvases show no digit at all.

    Args:
        seed: of the scans' split and of everything drawn.
        num_test: validation and test canvases, each, >= 5.
        cooccurrence: :math:`\rho` in [0, 1); 0 makes the labels independent.

    Returns:
        Of each set images ``(N, 1, 27, 36)``, float32, in [0, 1] but for Gaussian noise of
        deviation 0.1, and targets ``(N, 10)``, float32, 0 or 1.

    Raises:
        ValueError: a ``num_test`` or a ``cooccurrence`` out of range.

    >>> sets = canvas_sets(num_test=50)
    >>> sets.train.images.shape, sets.train.targets.sum(0).int().tolist()[:4]
    (torch.Size([1000, 1, 27, 36]), [500, 324, 210, 136])
    >>> sets.test.targets.sum(0).unique()
    tensor([10.])
    """
    check_count(num_test, "num_test", minimum=5)
    if not 0 <= cooccurrence < 1:
        raise ValueError(f"cooccurrence must lie in [0, 1), got {cooccurrence}")
    pool, test = digits(seed=seed)
    for_training = torch.arange(len(pool.targets)) % 4 > 0  # the split has shuffled them
    flat = (num_test // 5,) * 10
    drawn = [
        (pool.subset(for_training), NUM_TRAIN, LONG_TAIL),
        (pool.subset(~for_training), num_test, flat),
        (test, num_test, flat),
    ]
    sets = [
        _canvases(*which, cooccurrence, np.random.default_rng(10 * seed + part))
        for part, which in enumerate(drawn)
    ]
    return CanvasSets(*sets)


def _canvases(
    scans: LabelledImages,
    size: int,
    counts: tuple[int, ...],
    cooccurrence: float,
    draw: np.random.Generator,
) -> LabelledImages:
    """So many canvases of these scans, with so many of each label."""
    common = draw.standard_normal((size, 1))
    own = draw.standard_normal((size, 10))
    scores = np.sqrt(cooccurrence) * common + np.sqrt(1 - cooccurrence) * own
    targets = torch.from_numpy((-scores).argsort(0).argsort(0) < np.array(counts))
    images = _paint(scans, targets, draw)
    grain = draw.standard_normal(images.shape, dtype=np.float32)
    noisy = torch.from_numpy(images + np.float32(NOISE) * grain)
    return LabelledImages(noisy, targets.float())


def _paint(scans: LabelledImages, targets: Tensor, draw: np.random.Generator) -> np.ndarray:
    """Paint one scan of each label into a cell of its own, at random."""
    pixels = scans.images[:, 0].numpy()
    of_label = [np.flatnonzero(scans.targets.numpy() == k) for k in range(10)]
    images = np.zeros((len(targets), 1, ROWS * CELL, COLUMNS * CELL), dtype=np.float32)
    for image, row in zip(images, targets, strict=True):
        labels = row.nonzero()[:, 0].tolist()
        cells = draw.permutation(ROWS * COLUMNS)[: len(labels)]
        for label, cell in zip(labels, cells, strict=True):
            top, left = CELL * np.array(divmod(int(cell), COLUMNS)) + draw.integers(0, 2, 2)
            scan = pixels[draw.choice(of_label[label])]
            image[0, top : top + 8, left : left + 8] = scan
    return images
