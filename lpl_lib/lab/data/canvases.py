"""Canvases of several handwritten digits: multi-label images without a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lpl_lib.checks import check_class_counts, check_count
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.data.scans import digits

CELL, ROWS, COLUMNS = 9, 3, 4  # a digit of 8 x 8 pixels has some play in its cell
LONG_TAIL = (500, 324, 210, 136, 88, 57, 37, 24, 15, 10)


class CanvasSets(NamedTuple):
    """Training, validation and test canvases, from three disjoint sets of scans."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def canvas_sets(
    seed: int = 0,
    *,
    num_train: int = 1000,
    num_test: int = 2000,
    label_counts: Sequence[int] = LONG_TAIL,
    cooccurrence: float = 0.2,
    noise: float = 0.1,
) -> CanvasSets:
    """Return a long-tailed training set of canvases, a validation set and a test set.

    The label of a canvas is the set of digits on it. Training canvases have the long
    tail of ``label_counts``; of validation and test canvases (``num_test`` each) every
    label is on one fifth, so that the average precisions of labels can be compared. (The
    test sets of VOC-MLT and COCO-MLT are much flatter than their training sets, too.)
    Validation canvases are made from scans of the training half of the digits that no
    training canvas shows.

    Args:
        seed: of the scans' split and of everything drawn.
        num_train: training canvases.
        num_test: validation and test canvases, each.
        label_counts: training canvases that show the digits 0, 1, ..., 9; by default
            from 500 to 10, so that with the usual limits of 100 and 20 four labels are
            head, four medium and two tail.
        cooccurrence: see :func:`digit_canvases`.
        noise: standard deviation of the pixels' noise.

    >>> sets = canvas_sets(num_train=1000, num_test=50)
    >>> sets.train.images.shape, sets.train.targets.sum(0).int().tolist()[:4]
    (torch.Size([1000, 1, 27, 36]), [500, 324, 210, 136])
    """
    pool, test = digits(seed=seed)
    for_training = torch.arange(len(pool.targets)) % 4 > 0  # the split has shuffled them
    flat = [check_count(num_test, "num_test") // 5] * 10
    drawn = [
        (pool.subset(for_training.nonzero()[:, 0]), num_train, label_counts),
        (pool.subset((~for_training).nonzero()[:, 0]), num_test, flat),
        (test, num_test, flat),
    ]
    return CanvasSets(
        *(
            digit_canvases(scans, size, counts, cooccurrence, noise, seed=10 * seed + part)
            for part, (scans, size, counts) in enumerate(drawn)
        )
    )


def digit_canvases(
    scans: LabelledImages,
    num_images: int,
    label_counts: Sequence[int],
    cooccurrence: float = 0.2,
    noise: float = 0.1,
    seed: int = 0,
) -> LabelledImages:
    r"""Return canvases of 27 x 36 pixels with several digits in free places.

    Which digits are on a canvas comes from a Gaussian copula with exact counts: canvas
    ``i`` has a score :math:`z_{ik} = \sqrt\rho\, g_i + \sqrt{1 - \rho}\, g_{ik}` for
    label ``k``, and the :math:`n_k` canvases with the highest scores show it. All labels
    so have the counts that were asked for, and each pair co-occurs the more the larger
    :math:`\rho`. Some canvases show no digit at all.

    Args:
        scans: digits of 8 x 8 pixels to draw from, with all ten labels.
        num_images: canvases.
        label_counts: :math:`n_k`, canvases that show digit ``k``, ten numbers from 1 to
            ``num_images``.
        cooccurrence: :math:`\rho` in [0, 1); 0 makes the labels independent.
        noise: standard deviation of Gaussian noise on the pixels, which are in [0, 1].
        seed: of all that is drawn.

    Returns:
        Images ``(N, 1, 27, 36)``, float32, and targets ``(N, 10)``, float32, 0 or 1.

    Raises:
        ValueError: not ten counts, or a count above ``num_images``; a ``cooccurrence``
            outside [0, 1).

    >>> scans, _ = digits()
    >>> canvases = digit_canvases(scans, 40, [20] * 5 + [2] * 5)
    >>> canvases.images.shape, canvases.targets.sum(0).int().tolist()
    (torch.Size([40, 1, 27, 36]), [20, 20, 20, 20, 20, 2, 2, 2, 2, 2])
    """
    counts = check_class_counts(label_counts, "label_counts")
    check_count(num_images, "num_images")
    if len(counts) != 10 or counts.max() > num_images:
        raise ValueError(
            "label_counts must be ten numbers up to num_images = "
            f"{num_images}, got {list(label_counts)}"
        )
    if not 0 <= cooccurrence < 1:
        raise ValueError(f"cooccurrence must lie in [0, 1), got {cooccurrence}")
    draw = np.random.default_rng(seed)
    common = draw.standard_normal((num_images, 1))
    own = draw.standard_normal((num_images, 10))
    scores = np.sqrt(cooccurrence) * common + np.sqrt(1 - cooccurrence) * own
    rank = (-scores).argsort(0).argsort(0)
    targets = torch.from_numpy(rank < counts.numpy())
    images = _paint(scans, targets, draw)
    grain = draw.standard_normal(images.shape, dtype=np.float32)
    noisy = torch.from_numpy(images + np.float32(noise) * grain)
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
