"""Split lists of VOC-MLT and COCO-MLT: one image and its label ids a line.

The two long-tailed sets are subsets of VOC 2012 and COCO 2017, drawn once by Wu et al.
2020. They cannot be drawn again (the drawing code needs an old Python), so everybody uses
the published lists. The ones here carry the labels as plain text; they count an object
that VOC marks as difficult as a positive, as the authors' code does.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

SOURCE = "https://raw.githubusercontent.com/richard-peng-xia/LMPT"
LISTS_COMMIT = "6a2dd5b53a624494df1bb2c8fe8459ac3860d22c"


class Remote(NamedTuple):
    """A published file and its sha256 checksum."""

    address: str
    checksum: str


SPLIT_LISTS = {
    "voc_lt_train": Remote(
        f"{SOURCE}/{LISTS_COMMIT}/data/voc/voc_lt_train.txt",
        "2111a5e58ae8b67a112a2b2c8aa98fe8fa926ac3e1d73e2e4e0e4844c90cc047",
    ),
    "voc_lt_test": Remote(
        f"{SOURCE}/{LISTS_COMMIT}/data/voc/voc_lt_test.txt",
        "43b2929a86e9fe685cdf3b6b72fb90b6838ff9f9f427807e8b9502111e73750a",
    ),
    "coco_lt_train": Remote(
        f"{SOURCE}/{LISTS_COMMIT}/data/coco/coco_lt_train.txt",
        "8e0c354ae2214d7ced46f4a5ae24236149296be4dcd2df74f00eba2abe6be0ce",
    ),
    "coco_lt_test": Remote(
        f"{SOURCE}/{LISTS_COMMIT}/data/coco/coco_lt_test.txt",
        "4dda722463b0ed3aada172ce1c75f46f1391e4d2bee7643760549f916a8022e5",
    ),
}
NUM_LABELS = {"voc": 20, "coco": 80}


class SplitList(NamedTuple):
    """Images and their labels.

    Attributes:
        paths: relative to the folder of the images.
        targets: ``(N, K)``, float32, 0 or 1.
    """

    paths: list[str]
    targets: Tensor

    def label_counts(self) -> list[int]:
        """Return the number of images that have each label."""
        return self.targets.sum(0).int().tolist()


def parse_split_list(text: str, num_labels: int) -> SplitList:
    """Read a list of lines ``path id id ...``; a line without ids has no label.

    (Of the 5,000 test images of COCO-MLT 48 have none.)

    Raises:
        ValueError: no line at all; an id that is no number from 0 to ``num_labels - 1``;
            an image that is listed twice.

    >>> parsed = parse_split_list("a.jpg 0 2\\nb.jpg\\n", num_labels=3)
    >>> parsed.paths, parsed.targets.tolist()
    (['a.jpg', 'b.jpg'], [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("the split list must have at least one line, got none")
    known = {str(k): k for k in range(num_labels)}
    targets = torch.zeros(len(lines), num_labels)
    for row, (path, *ids) in enumerate(lines):
        for label in ids:
            if label not in known:
                raise ValueError(
                    f"label ids must be numbers from 0 to {num_labels - 1}, got "
                    f"{label!r} in line {row + 1} of the split list, for {path}"
                )
            targets[row, known[label]] = 1
    paths = [path for path, *_ in lines]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"the split list must name every image once, got {twice} twice")
    return SplitList(paths, targets)


def fetch_split_list(name: str, folder: Path) -> Path:
    """Return the path of a published split list, fetched into ``folder`` if missing.

    Args:
        name: ``"voc_lt_train"``, ``"voc_lt_test"``, ``"coco_lt_train"`` or
            ``"coco_lt_test"``.
        folder: where the list is kept; made if missing.

    Raises:
        ValueError: an unknown name; a file whose sha256 checksum is not the published
            list's.
        OSError: there is no connection.
    """
    if name not in SPLIT_LISTS:
        raise ValueError(f"name must be one of {sorted(SPLIT_LISTS)}, got {name!r}")
    remote = SPLIT_LISTS[name]
    path = folder / f"{name}.txt"
    if path.is_file():
        verify(path.read_bytes(), remote, str(path))
        return path
    with urllib.request.urlopen(remote.address, timeout=60) as answer:
        content = answer.read()
    verify(content, remote, remote.address)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def verify(content: bytes, remote: Remote, origin: str) -> None:
    """Check that the content has the checksum of the published file.

    >>> verify(b"", SPLIT_LISTS["voc_lt_train"], "an empty file")
    Traceback (most recent call last):
    ...
    ValueError: an empty file must have the sha256 2111a5e58a..., got e3b0c44298...
    """
    found = hashlib.sha256(content).hexdigest()
    if found != remote.checksum:
        raise ValueError(
            f"{origin} must have the sha256 {remote.checksum[:10]}..., got {found[:10]}..."
        )


def check_files(folder: Path, paths: Sequence[str]) -> None:
    """Check that every path is a file in ``folder``.

    Raises:
        ValueError: counting all missing files and naming the first five.

    >>> check_files(Path("no/such/place"), ["a.jpg", "b.jpg"])
    Traceback (most recent call last):
    ...
    ValueError: folder no/such/place must hold all 2 listed images, but 2 are
    missing: a.jpg, b.jpg
    """
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        raise ValueError(
            f"folder {folder} must hold all {len(paths)} listed images, but "
            f"{len(missing)} are missing: {', '.join(missing[:5])}{more}"
        )
