"""Images of a folder, decoded once into memory."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lpl_lib.checks import check_count
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.data.look import in_a_line, look_at, open_upright
from lpl_lib.lab.data.subsets import hold_out

TEST_SHARE = 0.2  # of a folder that has no test set of its own


class SkippedImagesWarning(UserWarning):
    """Files and folders of a data set that are left out."""


def read_parts(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Return training set, test set and class names of a folder.

    Args:
        folder, size, skip_corrupt: as for :func:`read_folder`, whose errors it raises. Of a
            folder without parts a fifth of each class is the test set.
    """
    parts, names = read_folder(folder, size=size, skip_corrupt=skip_corrupt)
    if "" not in parts:
        return parts["train"], parts["test"], names
    kept, held = hold_out(parts[""].targets, TEST_SHARE)
    return parts[""].subset(kept), parts[""].subset(held), names


def read_folder(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[dict[str, LabelledImages], list[str]]:
    """Return the images of a folder as bytes, by part, and the names of its classes.

    Args:
        folder: ``train/<class>/<image>`` and ``test/<class>/<image>``, in the spellings
            that :func:`~lpl_lib.lab.data.tree.look_through` knows, or ``<class>/<image>``
            alone, the layout of torchvision's ``ImageFolder``. Classes are numbered in the
            alphabetical order of their folders' names.
        size: height and width to bring each image to (shorter side resized, middle cut
            out); ``None`` keeps them and wants all of one size.
        skip_corrupt: leave out files that cannot be read instead of refusing them. A
            :class:`SkippedImagesWarning` lists them, as it does hidden folders and the
            like.

    Returns:
        for ``"train"`` and ``"test"``, or ``""`` alone, images ``(N, 3, height, width)``,
        uint8, upright as their cameras say; grey and palette images become colour,
        transparent ones are laid on white.

    Raises:
        FileNotFoundError: no such folder.
        CorruptImagesError: files in class folders that are no images or damaged, or grey
            with more than 8 bits; images beside the class folders (listed).
        ValueError: fewer than two classes, or one without images in a part; images of
            several sizes; links that show a folder twice; one of the two parts alone, or
            parts in the place of classes.
    """
    if size is not None:
        check_count(size, "size")
    found = look_at(folder)
    found.check_usable(skip_corrupt, "skip_corrupt")
    if passed := [*found.unusable, *map(str, found.passed_over)]:
        text = f"{len(passed)} files or folders of {folder} are left out: "
        warnings.warn(text + in_a_line(passed), SkippedImagesWarning, stacklevel=2)
    with ThreadPoolExecutor() as pool:
        read = [*pool.map(lambda row: _pixels(row.file, size), found.rows)]
    sizes = sorted({pixels.shape[:2] for pixels in read})
    if len(sizes) > 1:
        raise ValueError(
            f"images must have one size, got {len(sizes)} sizes (height, width) from "
            f"{sizes[0]} to {sizes[-1]}: pass size= to bring them to one"
        )
    images, targets, parts = torch.from_numpy(np.stack(read)), found.targets, {}
    images = images.permute(0, 3, 1, 2).contiguous()
    for part in dict.fromkeys(row.part for row in found.rows):
        own = torch.tensor([row.part == part for row in found.rows])
        parts[part] = LabelledImages(images[own], targets[own])
        if lost := {*found.classes} - {row.label for row in found.rows if row.part == part}:
            raise ValueError(
                f"every class needs an image that can be used, but {sorted(lost)} of "
                f"{Path(folder) / part} have none left"
            )
    return parts, found.classes


def _pixels(file: Path, size: int | None) -> NDArray[np.uint8]:
    """The image ``(height, width, 3)``."""
    colour = open_upright(file)
    shape = colour.size if size is None else (size, size)
    return np.asarray(ImageOps.fit(colour, shape, Image.Resampling.BILINEAR))
