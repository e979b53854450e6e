"""What lies in a folder of images: parts, classes, files, and what is passed over."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from unicodedata import normalize

SPLITS = {
    "train": "train(ing)?|trn",
    "test": "test(ing)?|tst",
    "validation": "val(id(ation)?)?|dev|eval(uation)?",
}
# what systems and programs put beside images: .ipynb_checkpoints, __MACOSX, @eaDir
FOREIGN = re.compile(r"[.@$]|__|(#recycle|lost\+found|Thumbs\.db|desktop\.ini)$")
OWN = ("*.jsonl", "*.lock", "*/*.lock")  # in folders of an experiment's results, runs
Inside = dict[Path, tuple[list[Path], list[Path]]]  # the folders and files of folders


def look_through(folder: str | Path) -> tuple[list[tuple[str, str, Path]], list[Path]]:
    """Look through ``<class>/<image>``, or ``train`` and ``test`` with that in each.

    Args:
        folder: which. ``Train``, ``training_set``, ``train2017`` and the like are a part;
            ``val`` is the test set where there is no ``test``. A class may be in train
            alone.

    Returns:
        Of each file its part, ``"train"``, ``"test"`` or ``""``, the name of its class, in
        composed Unicode (NFC), and the file, in the order of parts and classes; and what is
        passed over: hidden folders, parts that are not used, files beside the class
        folders, results of experiments.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: fewer than two classes, or one without files; one part alone or twice,
            or parts where there should be classes; a class in test alone; a folder that a
            link shows a second time.
    """
    place, (inside, unread) = Path(folder), walk_folder(folder)
    folders, loose = inside[place]
    used = {"": place}
    if splits := _splits(folders):
        test = splits.get("test") or splits.get("validation") or []
        both = splits.get("train", []) + test
        if len(both) != 2 or len(test) != 1:
            _refuse(place, splits)
        used = dict(zip(("train", "test"), both, strict=True))
        unread += [path for path in folders if path not in both] + loose
    found: list[tuple[str, str, Path]] = []
    names = []
    for part, root in used.items():
        for here in (root, *inside[root][0]):
            if len(nested := _splits(inside[here][0])) > 1:
                _refuse(here, nested)
        rows = [
            (part, _class_name(here.relative_to(root)), file)
            for here, (_, files) in inside.items()
            if root in here.parents
            for file in files
        ]
        full = {name for _, name, _ in rows}
        empty = sorted({_class_name(Path(path.name)) for path in inside[root][0]} - full)
        if len(full) < (1 if part == "test" else 2) or (empty and part != "test"):
            raise ValueError(
                "folder must have at least two subfolders, one a class, images in each, "
                f"got {len(full) + len(empty)}, {empty} of them empty, in {root}"
            )
        unread += inside[root][1]
        found += sorted(rows, key=lambda row: row[1])
        names.append(full)
    if not names[0] >= names[-1]:
        raise ValueError(
            f"test of {place} must have no class that train has not, but in train only are "
            f"{sorted(names[0] - names[-1])}, in test only {sorted(names[-1] - names[0])}"
        )
    return found, unread


def folder_digest(folder: str | Path) -> str:
    """Return a digest of what is read of a folder: parts, names of classes and files, and
    the files' bytes, undecoded. A copy elsewhere has the same.

    Raises:
        FileNotFoundError, ValueError: as :func:`look_through`.
    """
    total = hashlib.sha256()
    for part, name, file in look_through(folder)[0]:
        total.update(f"{part}/{name}/{file.name} {_content(file)}\n".encode())
    return total.hexdigest()[:16]


def _content(file: Path) -> str:
    """The digest of a file's bytes, taken anew where the file may have changed."""
    if not file.is_file():
        return "no file"
    now = file.stat()
    fresh = max(0, now.st_ctime_ns + 2 * 10**9 - time.time_ns())  # its time may stand still
    return _hashed(file, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, fresh)


@lru_cache(maxsize=2**20)
def _hashed(file: Path, *status: int) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def walk_folder(place: str | Path) -> tuple[Inside, list[Path]]:
    """Return what is in each folder below one, and what is passed over.

    Raises:
        FileNotFoundError, PermissionError: no way in.
        ValueError: a folder that a link shows a second time.
    """
    inside: Inside = {}
    unread: list[Path] = []
    seen: dict[tuple[int, int], Path] = {}

    def refuse(error: OSError) -> None:
        text = f"folder must have one subfolder a class, but there is no way in: {error}"
        raise type(error)(text) from error

    for root, folders, names in os.walk(place, onerror=refuse, followlinks=True):
        here = Path(root)
        status = here.stat()
        twin = seen.setdefault((status.st_dev, status.st_ino), here)
        if twin is not here:
            raise ValueError(f"{here} is {twin} once more, by a link: remove one of them")
        passed = {name for name in folders if _passed_over(here / name)}
        unread += [here / name for name in sorted(passed)]
        folders[:] = sorted(set(folders) - passed)
        files = [here / name for name in sorted(names) if not FOREIGN.match(name)]
        inside[here] = [here / name for name in folders], files
    return inside, unread


def _class_name(path: Path) -> str:
    return normalize("NFC", path.parts[0])  # macOS takes letters and accents apart


def _passed_over(folder: Path) -> bool:
    return bool(FOREIGN.match(folder.name)) or any(any(folder.glob(form)) for form in OWN)


def _splits(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """The folders that are called like parts of a data set, by kind."""
    found: dict[str, list[Path]] = {}
    bare = False
    for path in folders:
        for kind, names in SPLITS.items():
            form = rf"(.*[ _.-])?({names})([ _.-]*(sets?|data|images?|imgs|split|\d+))*"
            if match := re.fullmatch(form, path.name, re.IGNORECASE):
                found.setdefault(kind, []).append(path)
                bare |= match[1] is None
    return found if bare or len(found) > 1 else {}  # "bullet train" alone is a class


def _refuse(place: Path, splits: dict[str, list[Path]]) -> NoReturn:
    names = sorted(path.name for found in splits.values() for path in found)
    raise ValueError(
        f"{place} must hold train and test, each once, with classes in both, or classes "
        f"alone, got {names}; what is a class needs another name"
    )
