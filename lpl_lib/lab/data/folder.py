"""Images of a folder, decoded once into memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lpl_lib.checks import check_count
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.data.splits import hold_out
from lpl_lib.lab.data.tree import Tree, look_through

# Grey levels beyond a byte: Pillow would cut them off at 255 without a word.
WIDE_MODES = ("I", "F")
TEST_SHARE = 0.2  # of a folder that has no test set of its own
NAMED = 50  # files that an error lists by name


class CorruptImagesError(ValueError):
    """Files of a data set that cannot be read, and were not to be left out."""


class SkippedImagesWarning(UserWarning):
    """Files and folders of a data set that are left out."""


def read_folder(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[LabelledImages, list[str]]:
    """Return the images of a folder as bytes, and the names of its classes.

    Args:
        folder: ``folder/<class>/<image>``, the layout of torchvision's ``ImageFolder``.
            Classes are numbered in the alphabetical order of their folders' names.
        size: height and width to bring each image to (shorter side resized, middle cut
            out); ``None`` keeps them and wants all of one size.
        skip_corrupt: leave out files that cannot be read instead of refusing them. A
            :class:`SkippedImagesWarning` lists them, as it does hidden folders and the
            like.

    Returns:
        images ``(N, 3, height, width)``, uint8, upright as their cameras say; grey and
        palette images become colour, transparent ones are laid on white.

    Raises:
        FileNotFoundError: no such folder.
        CorruptImagesError: files in class folders that are no images or damaged, or grey
            with more than 8 bits; images beside the class folders (listed).
        ValueError: fewer than two classes, or one without images; images of several
            sizes; links that show a folder twice; parts in the place of classes.
    """
    parts, names = _read(folder, look_through(folder, parts=False), size, skip_corrupt)
    return parts[""], names


def read_parts(
    folder: str | Path, *, size: int | None = None, skip_corrupt: bool = False
) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Return training set, test set and class names of a folder.

    Args:
        folder: ``train/<class>/<image>`` and ``test/<class>/<image>``, in the spellings
            that :func:`~lpl_lib.lab.data.tree.look_through` knows, or
            ``<class>/<image>`` alone, a fifth of each class then is the test set.
        size, skip_corrupt: as for :func:`read_folder`, whose errors it raises.

    Raises:
        ValueError: one of the two parts alone; classes or sizes that differ.
    """
    parts, names = _read(folder, look_through(folder), size, skip_corrupt)
    if "" not in parts:
        return parts["train"], parts["test"], names
    kept, held = hold_out(parts[""].targets, TEST_SHARE)
    return parts[""].subset(kept), parts[""].subset(held), names


def _read(
    folder: str | Path, tree: Tree, size: int | None, skip_corrupt: bool
) -> tuple[dict[str, LabelledImages], list[str]]:
    """The images of each part, and the names of the classes."""
    if size is not None:
        check_count(size, "size")
    known, names = Image.registered_extensions(), [*next(iter(tree.parts.values()))]
    files = [
        (part, label, file)
        for part, classes in tree.parts.items()
        for label, members in enumerate(classes.values())
        for file in members
    ]
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda entry: _pixels(entry[2], size), files, chunksize=64)
        found = [(*entry, pixels) for entry, pixels in zip(files, read, strict=True)]
    bad = [pixels for *_, pixels in found if isinstance(pixels, str)]
    stray = [path for path in tree.unread if path.suffix.lower() in known]
    bad += [f"{path} (in no class)" for path in stray]
    if bad and not skip_corrupt:
        raise CorruptImagesError(
            f"files must hold images of 8 bits a channel, but {len(bad)} of "
            f"{len(files) + len(stray)} cannot be used: {in_a_line(bad)}. Repair or remove "
            "them, or pass skip_corrupt=True"
        )
    if passed := bad + [str(path) for path in tree.unread if path not in stray]:
        text = f"{len(passed)} files or folders of {folder} are left out: "
        warnings.warn(text + in_a_line(passed), SkippedImagesWarning, stacklevel=3)
    sizes = sorted({p.shape[:2] for *_, p in found if not isinstance(p, str)})
    if len(sizes) > 1:
        raise ValueError(
            f"images must have one size, got {len(sizes)} sizes (height, width) from "
            f"{sizes[0]} to {sizes[-1]}: pass size= to bring them to one"
        )
    parts = {}
    for part in tree.parts:
        own = [(c, p) for key, c, _, p in found if key == part and not isinstance(p, str)]
        targets = torch.tensor([c for c, _ in own], dtype=torch.int64)
        left = targets.bincount(minlength=len(names)).tolist()
        if 0 in left:
            lost = [name for name, count in zip(names, left, strict=True) if not count]
            raise ValueError(
                f"every class needs an image that can be used, but {lost} of "
                f"{Path(folder) / part} have none left"
            )
        pixels = torch.from_numpy(np.stack([p for _, p in own]))
        parts[part] = LabelledImages(pixels.permute(0, 3, 1, 2).contiguous(), targets)
    return parts, names


def in_a_line(items: Sequence[object]) -> str:
    """Return items in a line; of many, the first and how many more."""
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return "; ".join(map(str, items[:NAMED])) + more


def open_upright(file: Path) -> Image.Image:
    """Return an image as a viewer shows it: upright, in colour, on white.

    Raises:
        ValueError: the file, and what is wrong with it, whatever that is.
    """
    if not file.is_file():  # to open a pipe would wait for ever
        raise ValueError(f"{file} (no such file: a broken link, a pipe or a device)")
    try:
        with Image.open(file) as image:
            if image.mode.split(";")[0] in WIDE_MODES:
                raise ValueError(f"mode {image.mode}: more than 8 bits a channel")
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            return upright.convert("RGB")
    except Exception as error:  # on damaged files Pillow's readers raise all kinds
        reason = str(error) or type(error).__name__
        text = reason.split(" '")[0] if "cannot identify" in reason else reason
        raise ValueError(f"{file} ({text})") from error


def _pixels(file: Path, size: int | None) -> NDArray[np.uint8] | str:
    """The image ``(height, width, 3)``, or what is wrong with the file."""
    try:
        colour = open_upright(file)
    except ValueError as error:
        return str(error)
    shape = colour.size if size is None else (size, size)
    return np.asarray(ImageOps.fit(colour, shape, Image.Resampling.BILINEAR))
