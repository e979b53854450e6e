"""CIFAR, from the folder that ``LPL_DATA`` names."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Literal

import torch

from lpl_lib.lab.data.folder import read_parts
from lpl_lib.lab.data.images import LabelledImages

DATA_VARIABLE = "LPL_DATA"
# what a missing network, a truncated archive or a damaged batch end in
BROKEN = (OSError, RuntimeError, EOFError, tarfile.TarError, pickle.UnpicklingError)
# means and deviations of the training images' channels, pixels in [0, 1]
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def data_folder() -> Path:
    """Return the folder that holds data sets: ``$LPL_DATA``, else ``data`` beside you.

    >>> data_folder().is_absolute()
    True
    """
    return Path(os.environ.get(DATA_VARIABLE) or "data").expanduser().absolute()


def cifar(
    name: Literal["cifar10", "cifar100"],
) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Return CIFAR's training set (50,000) and test set (10,000) as bytes, and the names
    of its classes.

    Looked for in :func:`data_folder`: class folders of the original pixels,
    ``<name>/{train,test}/<class>/<image>.png``, if there are any; else torchvision's copy,
    downloaded if missing. Only the order of the images differs between the two.

    Args:
        name: ``"cifar10"`` or ``"cifar100"`` (fine labels).

    Raises:
        ValueError: another name; folders that do not hold CIFAR's images, by their numbers,
            sizes, means and deviations (re-encoded copies are refused so).
        RuntimeError: no intact copy there and no download; it says what to do.
    """
    from torchvision import datasets

    if name not in STATISTICS:
        raise ValueError(f"name must be one of {sorted(STATISTICS)}, got {name!r}")
    reader, place = getattr(datasets, name.upper()), data_folder()
    if (place / name / "train").is_dir():
        return _cifar_folders(name, place / name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision's remarks
            sets = [reader(place, train=train, download=True) for train in (True, False)]
    except BROKEN as error:
        raise RuntimeError(
            f"{place} has no intact copy of {reader.__name__}, and its download failed "
            f"({error}). Fetch {reader.url} by other means and put {reader.filename} "
            f"into {place} (remove what is left of an older copy), or name the folder "
            f"that holds it in the environment variable {DATA_VARIABLE}"
        ) from error
    images = [torch.from_numpy(part.data.transpose(0, 3, 1, 2).copy()) for part in sets]
    targets = [torch.tensor(part.targets) for part in sets]
    train, test = map(LabelledImages, images, targets)
    return train, test, list(sets[0].classes)


def _cifar_folders(
    name: str, place: Path
) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Read CIFAR from class folders, and make sure that it is CIFAR."""
    train, test, names = read_parts(place)
    classes = int(name.removeprefix("cifar"))
    pixels = train.images.transpose(0, 1).flatten(1).double() / 255
    found = torch.stack([pixels.mean(1), pixels.std(1)])
    counts = {
        (*data.images.shape[2:], *data.class_counts(len(names)).unique().tolist())
        for data in (train, test)
    }
    original = (found - torch.tensor(STATISTICS[name])).abs().max() < 6e-5
    if counts != {(32, 32, 50_000 // classes), (32, 32, 10_000 // classes)} or not original:
        raise ValueError(
            f"{place} does not hold {name}'s original images: height, width and images a "
            f"class are {sorted(counts)}; means and deviations of train must be "
            f"{STATISTICS[name]}, got {found.numpy().round(4).tolist()}"
        )
    return train, test, names
