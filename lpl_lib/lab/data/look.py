"""Look at a folder of images before anything is trained on it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from lpl_lib.lab.data.tree import look_through, walk_folder

# Grey levels beyond a byte: Pillow would cut them off at 255 without a word.
WIDE_MODES = ("I", "F")
NAMED = 50  # files that an error lists by name


class CorruptImagesError(ValueError):
    """Files of a data set that cannot be read, and were not to be left out."""


class Row(NamedTuple):
    """An image: its file, the name of its class, ``"train"``, ``"test"`` or ``""``, the
    group that it is not to be parted from, its size in pixels, a digest of its pixels."""

    file: Path
    label: str
    part: str = ""
    group: str = ""
    size: tuple[int, int] = (0, 0)
    pixels: str = ""


@dataclass(frozen=True)
class Found(Dataset[tuple[Any, int]]):
    """What :func:`look_at` found: a data set, and a summary when it is printed.

    Item ``i`` is the image ``rows[i]``, upright and in colour, and its label.

    Attributes:
        folder: where.
        classes: their names, in the order of the labels.
        rows: the ``N`` images that can be read.
        unusable: files that hold no image of 8 bits a channel, or that are in no class,
            and why.
        passed_over: what is no image of a class: hidden folders, unused parts, notes.
        transform: what becomes of an image; ``None`` leaves it as it is.
    """

    folder: Path
    classes: list[str]
    rows: list[Row]
    unusable: list[str]
    passed_over: list[Path]
    transform: Callable[[Any], Any] | None = None

    @property
    def targets(self) -> Tensor:
        """The labels, ``(N,)``, int64."""
        order = {name: label for label, name in enumerate(self.classes)}
        return torch.tensor([order[row.label] for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        row, change = self.rows[index], self.transform or (lambda image: image)
        return change(open_upright(row.file)), self.classes.index(row.label)

    def check_usable(self, skip: bool, option: str) -> None:
        """Raise :class:`CorruptImagesError` if there are unusable files, unless ``option``
        says to ``skip`` them."""
        if self.unusable and not skip:
            raise CorruptImagesError(
                f"files must hold images of 8 bits a channel, but {len(self.unusable)} of "
                f"{len(self) + len(self.unusable)} cannot be used: "
                f"{in_a_line(self.unusable)}. Repair or remove them, or pass {option}=True"
            )

    def at(self, indices: Tensor, transform: Callable[[Any], Any] | None = None) -> Found:
        """Return the images at ``indices``, with another transform."""
        return replace(self, rows=[self.rows[i] for i in indices], transform=transform)

    def copies(self) -> list[list[Row]]:
        """Return the images whose pixels are equal, in lists of two or more."""
        alike: dict[str, list[Row]] = {}
        for row in self.rows:
            alike.setdefault(row.pixels, []).append(row)
        return [rows for rows in alike.values() if len(rows) > 1]

    def __str__(self) -> str:
        lines = []
        for part in sorted({row.part for row in self.rows}, reverse=True):
            n = Counter(row.label for row in self.rows if row.part == part).values()
            span = f"{max(n):,} down to {min(n):,} a class, {max(n) / min(n):.0f} : 1"
            lines.append(f"{part or 'images'}: {sum(n):,} of {len(n)} classes, {span}")
        low, high = (end(row.size for row in self.rows) for end in (min, max))
        lines.append(f"width x height: {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels")
        copies = self.copies()
        torn = [rows for rows in copies if len({(row.part, row.label) for row in rows}) > 1]
        kinds: dict[str, list[Any]] = {
            "cannot be used": self.unusable,
            "passed over": self.passed_over,
            "copies": [" = ".join(str(row.file) for row in rows) for rows in copies],
            "copies in two parts or classes": [f"of {rows[0].file}" for rows in torn],
        }
        for kind, items in kinds.items():
            lines.append(f"{kind}: {len(items) or 'none'} {in_a_line(items)}".strip())
        return "\n".join(lines).replace(f"{self.folder}{os.sep}", "")


def look_at(folder: str | Path, labels: str | Path | None = None) -> Found:
    """Look at every image of a folder, once: classes, sizes, copies, what cannot be used.

    Args:
        folder: ``<class>/<image>``, or ``train`` and ``test`` of any usual spelling with
            that in each. A class that is in ``train`` alone is trained on, and not scored.
        labels: a CSV file in the place of class folders, with the columns ``path`` (from
            ``folder``) and ``label``, and if you like ``part`` (train or test) and
            ``group`` (images that are not to be parted).

    Raises:
        FileNotFoundError: no such folder or table.
        ValueError: no class folders, one class, a class of which no training image can be
            read; in the table, a missing column, a file that is not there or comes twice,
            no label, another part (all lines are named).

    >>> import tempfile
    >>> from PIL import Image
    >>> place = tempfile.TemporaryDirectory()
    >>> for name, side in (("cat/1.png", 4), ("cat/2.png", 4), ("dog/1.png", 8)):
    ...     file = Path(place.name) / name
    ...     file.parent.mkdir(exist_ok=True)
    ...     Image.new("RGB", (side, side)).save(file)
    >>> print(look_at(place.name))
    images: 3 of 2 classes, 2 down to 1 a class, 2 : 1
    width x height: 4 x 4 to 8 x 8 pixels
    cannot be used: none
    passed over: none
    copies: 1 cat/1.png = cat/2.png
    copies in two parts or classes: none
    """
    place = Path(folder)
    if labels is None:
        files, others = look_through(place)
        rows = [Row(file, label, part) for part, label, file in files]
    else:
        rows, others = _table(place, Path(labels))
    suffixes = Image.registered_extensions()
    stray = [path for path in others if path.suffix.lower() in suffixes]
    with ThreadPoolExecutor() as pool:
        seen = [*pool.map(_seen, rows), *[f"{path} (in no class)" for path in stray]]
    good = [row for row in seen if isinstance(row, Row)]
    bad = [why for why in seen if isinstance(why, str)]
    names = sorted({row.label for row in rows})
    lost = sorted(set(names) - {row.label for row in good if row.part != "test"})
    if len(names) < 2 or lost or {row.part for row in rows} > {row.part for row in good}:
        text = (
            f"{place} must have two classes, images to train on in each, and to test on if"
        )
        text += f" there is a test part, got {names}, none to train on for {lost}; cannot"
        raise ValueError(f"{text} be used: {in_a_line(bad) or 'none'}")
    return Found(place, names, good, bad, [path for path in others if path not in stray])


def _table(place: Path, labels: Path) -> tuple[list[Row], list[Path]]:
    """The images of a table, and the files that it does not name."""
    frame = pd.read_csv(labels, dtype=str, keep_default_na=False)
    if not {"path", "label"} <= set(frame):
        raise ValueError(f"{labels} must have columns path and label, got {list(frame)}")
    blank, files = pd.Series("", frame.index), [place / path for path in frame["path"]]
    part, group = frame.get("part", blank).str.lower(), frame.get("group", blank)
    faults = {
        "no such file": np.array([not file.is_file() for file in files]),
        "once more": frame["path"].duplicated(),
        "no label": frame["label"] == "",
        "part must be train or test": ~part.isin(["train", "test"] if part.any() else [""]),
        "no group": (group == "") & group.any(),
    }
    bad = [(i, what) for what, wrong in faults.items() for i in np.flatnonzero(wrong)]
    if bad:
        lines = [f"line {i + 2}: {what} ({files[i]})" for i, what in sorted(bad)]
        raise ValueError(f"{labels} must name images of {place}, got {in_a_line(lines)}")
    inside, unread = walk_folder(place)
    others = {file for _, own in inside.values() for file in own} - {*files, labels}
    return list(map(Row, files, frame["label"], part, group)), unread + sorted(others)


def _seen(row: Row) -> Row | str:
    """An image with its size and digest, or what is wrong with its file."""
    try:
        image = open_upright(row.file)
    except ValueError as error:
        return str(error)
    content = hashlib.sha256(repr(image.size).encode() + image.tobytes())
    return row._replace(size=image.size, pixels=content.hexdigest())


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
