"""Images of a folder, decoded once into memory."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpl_lib.checks import check_count
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.data.splits import hold_out

# Grey levels beyond a byte: Pillow would cut them off at 255 without a word.
WIDE_MODES = ("I", "F")
TEST_SHARE = 0.2  # of a folder that has no test set of its own
NAMED = 5  # files that an error lists by name


class CorruptImagesError(ValueError):
    """Files of a data set that cannot be decoded, and were not to be left out."""


class SkippedImagesWarning(UserWarning):
    """Files of a data set that cannot be decoded, and were left out as asked."""


def read_folder(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[LabelledImages, list[str]]:
    """Return the images of a folder as bytes, and the names of its classes.

    Args:
        folder: ``folder/<class>/<image>``, the layout of torchvision's ``ImageFolder``.
            Classes are numbered in the alphabetical order of their folders' names.
        size: height and width to bring each image to (shorter side resized, middle cut
            out); ``None`` keeps them and wants all of one size.
        skip_corrupt: leave out files that cannot be decoded instead of refusing them; a
            :class:`SkippedImagesWarning` lists them.

    Returns:
        images ``(N, 3, height, width)``, uint8; grey and palette images become colour.

    Raises:
        FileNotFoundError: no such folder, no class in it, or a class without images.
        CorruptImagesError: files that cannot be decoded, or are grey with more than
            8 bits (listed).
        ValueError: a single class; images of several sizes.
    """
    from torchvision.datasets import ImageFolder

    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"folder must have one subfolder a class, but there is no {folder}"
        )
    found = ImageFolder(str(folder))
    if len(found.classes) < 2:
        raise ValueError(
            f"folder must have at least two classes, got one, {found.classes[0]!r}, "
            f"in {folder}"
        )
    files, labels = zip(*found.samples, strict=True)
    images, kept = decode(files, size, skip_corrupt=skip_corrupt)
    targets = torch.tensor(labels)[kept]
    left = torch.bincount(targets, minlength=len(found.classes))
    if not left.all():
        name = found.classes[int(left.argmin())]
        raise ValueError(
            f"every class needs an image that can be decoded, but class {name!r} of "
            f"{folder} has none left"
        )
    return LabelledImages(images, targets), list(found.classes)


def read_parts(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Return training set, test set and class names of a folder.

    Args:
        folder: ``train/<class>/<image>`` and ``test/<class>/<image>``, or
            ``<class>/<image>`` alone, a fifth of each class then is the test set.
        size, skip_corrupt: as for :func:`read_folder`, whose errors it raises.

    Raises:
        ValueError: one of the two parts alone; classes or sizes that differ.
    """
    place = Path(folder)
    parts = [place / "train", place / "test"]
    there = [part.is_dir() for part in parts]
    if not any(there):
        data, names = read_folder(place, size=size, skip_corrupt=skip_corrupt)
        kept, held = hold_out(data.targets, TEST_SHARE)
        return data.subset(kept), data.subset(held), names
    if not all(there):
        raise ValueError(f"{place} must hold both train and test, or neither")
    (train, names), (test, of_test) = (
        read_folder(part, size=size, skip_corrupt=skip_corrupt) for part in parts
    )
    if names != of_test:
        differ = sorted(set(names) ^ set(of_test))
        raise ValueError(
            f"train and test of {place} must have the same classes, but {differ[0]!r} is "
            "in one of them only"
        )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"train and test of {place} must have images of one size, got "
            f"{tuple(train.images.shape[2:])} and {tuple(test.images.shape[2:])}; bring "
            "them to one by size="
        )
    return train, test, names


def listing_digest(folder: str | Path) -> str:
    """Return a digest of a folder's images, by name and size: what it is, undecoded.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"folder must have one subfolder a class, but there is no {folder}"
        )
    # what ImageFolder reads: also behind links
    walk = os.walk(folder, followlinks=True)
    files = [Path(place) / name for place, _, names in walk for name in names]
    total = hashlib.sha256()
    for file in sorted(files):
        entry = f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n"
        total.update(entry.encode())
    return total.hexdigest()[:16]


def decode(
    files: Sequence[str | Path], size: int | None = None, *, skip_corrupt: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the images of ``files`` ``(M, 3, height, width)``, uint8, and the indices
    ``(M,)`` of the files they come from. Threads decode; arguments and errors are those
    of :func:`read_folder`."""
    if size is not None:
        check_count(size, "size")
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda file: _pixels(file, size), files, chunksize=64))
    corrupt = [
        f"{file} ({result})"
        for file, result in zip(files, results, strict=True)
        if isinstance(result, str)
    ]
    if corrupt:
        more = f" and {len(corrupt) - NAMED} more" if len(corrupt) > NAMED else ""
        count, listed = f"{len(corrupt)} of {len(files)}", "; ".join(corrupt[:NAMED]) + more
        if not skip_corrupt:
            raise CorruptImagesError(
                f"files must hold images of 8 bits a channel, but {count} cannot be used: "
                f"{listed}. Repair or remove them, or pass skip_corrupt=True"
            )
        warnings.warn(
            f"{count} files cannot be used and are left out: {listed}",
            SkippedImagesWarning,
            stacklevel=3,
        )
    kept = [i for i, result in enumerate(results) if not isinstance(result, str)]
    pixels = [result for result in results if not isinstance(result, str)]
    sizes = sorted({image.shape[:2] for image in pixels})
    if len(sizes) > 1:
        raise ValueError(
            f"images must have one size, got {len(sizes)} sizes (height, width) from "
            f"{sizes[0]} to {sizes[-1]}: pass size= to bring them to one"
        )
    if not pixels:
        raise ValueError(f"no image is left of {len(files)} files")
    stacked = torch.from_numpy(np.stack(pixels))
    return stacked.permute(0, 3, 1, 2).contiguous(), torch.tensor(kept)


def _pixels(file: str | Path, size: int | None) -> NDArray[np.uint8] | str:
    """The image ``(height, width, 3)``, or what is wrong with the file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if image.mode.split(";")[0] in WIDE_MODES:
                return f"mode {image.mode}: more than 8 bits a channel"
            # transparent palettes reach RGB by way of RGBA, or Pillow warns
            transparent = image.mode == "P" and "transparency" in image.info
            colour = (image.convert("RGBA") if transparent else image).convert("RGB")
    # what Pillow's readers raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error)
        return reason.split(" '")[0] if "cannot identify" in reason else reason
    if size is not None:
        colour = ImageOps.fit(colour, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(colour)
