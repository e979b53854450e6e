"""The images of a run: which are trained on, and which it is scored on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lpl_lib.lab.data import (
    LabelledImages,
    checksum,
    cifar,
    data_folder,
    digits,
    hold_out,
    long_tail_indices,
    read_folder,
)
from lpl_lib.lab.data.folder import CorruptImagesError
from lpl_lib.lab.run.experiment import DataSpec, Groups
from lpl_lib.metrics import frequency_groups

FOLDER_TEST_SHARE = 0.2  # of a folder that has no test set of its own


@dataclass(frozen=True)
class Source:
    """A data set as it comes: training and test images as bytes, names of the classes."""

    train: LabelledImages
    test: LabelledImages
    names: list[str]


@dataclass(frozen=True)
class Problem:
    """The images of one run.

    Attributes:
        train: trained on.
        scored: the test set, or images held out of the training set.
        names: of the classes.
        counts: training images per class, ``(C,)``.
        indices: of ``train`` in the training images of the source.
    """

    train: LabelledImages
    scored: LabelledImages
    names: list[str]
    counts: Tensor
    indices: Tensor

    @property
    def checksum(self) -> dict[str, str]:
        """Digests of what is trained on and of what is scored."""
        return {"train": checksum(self.train), "scored": checksum(self.scored)}


def load_problem(spec: DataSpec, seed: int, held_out: float = 0.0) -> Problem:
    """Return the images of a run.

    Args:
        spec: from the experiment.
        seed: of the run, which draws the long tail if the experiment says so.
        held_out: share of each training class to score on in the place of the test set.
            It is taken off before the long tail is drawn, so that it is balanced where
            the source is.

    Raises:
        ValueError, RuntimeError, FileNotFoundError: see
            :mod:`lpl_lib.lab.data.folder` and :mod:`lpl_lib.lab.data.sources`.
    """
    source = load_source(spec)
    draw = seed if spec.draw == "seed" else spec.draw
    targets = source.train.targets
    chosen, scored = torch.arange(len(targets)), source.test
    if held_out:
        chosen, held = hold_out(targets, held_out, draw)
        scored = source.train.subset(held)
    if spec.imbalance_ratio > 1:
        chosen = chosen[long_tail_indices(targets[chosen], spec.imbalance_ratio, seed=draw)]
    train = source.train.subset(chosen)
    counts = train.class_counts(len(source.names))
    return Problem(train, scored, source.names, counts, chosen)


@lru_cache(maxsize=1)
def load_source(spec: DataSpec) -> Source:
    """Return a data set, decoded once a process."""
    if spec.name == "digits":
        train, test = digits(seed=0)
        return Source(_bytes(train), _bytes(test), [str(c) for c in range(10)])
    if spec.name == "folder":
        return _folder(spec)
    return Source(*cifar(spec.name))


def group_members(counts: Tensor, groups: Groups | None) -> dict[str, list[int]]:
    """Return the classes of head, medium and tail; none for a balanced set, no empty group.

    >>> group_members(torch.tensor([90, 30, 20]), Groups(head_above=50, tail_below=10))
    {'head': [0], 'medium': [1, 2]}
    """
    if groups is None:
        return {}
    members = frequency_groups(
        counts, head_above=groups.head_above, tail_below=groups.tail_below
    )
    return {name: part.tolist() for name, part in members.items() if len(part)}


def save_indices(path: Path, spec: DataSpec, problem: Problem) -> None:
    """Write down which training images a fixed long tail consists of, once.

    Results move with the draw, so it is published: a line a class, each with the indices
    of its images among the source's training images in their order (of their files, if
    it is a folder). A draw anew for each seed is not written down. The file is whole or
    not there.
    """
    if path.exists() or spec.draw == "seed" or spec.imbalance_ratio == 1:
        return
    lines = [f"# {spec.label}, seed {spec.draw}: training images of each class"]
    for c in range(len(problem.names)):
        members = problem.indices[problem.train.targets == c]
        lines.append(" ".join(map(str, members.tolist())))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def identity(spec: DataSpec) -> str:
    """Return a digest of a folder's images, by name and size: what it is, undecoded."""
    return _listing_digest(_place(spec))


def require_folder(spec: DataSpec) -> None:
    """Refuse a folder of images that is not there, before keys are made of what it holds.

    Raises:
        FileNotFoundError: there is none.
    """
    if spec.name == "folder" and not _place(spec).is_dir():
        raise FileNotFoundError(
            f"folder must have one subfolder a class, but there is no {_place(spec)}; a "
            f"relative path is looked for in {data_folder()} (variable LPL_DATA)"
        )


def look_anew() -> None:
    """Forget what was read of the images: they may have changed since."""
    load_source.cache_clear()
    _listing_digest.cache_clear()


@lru_cache  # each run asks several times, and a folder can hold many files
def _listing_digest(folder: Path) -> str:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    # what ImageFolder reads: also behind links, and nothing but images
    walk = os.walk(folder, followlinks=True)
    files = [Path(place) / name for place, _, names in walk for name in names]
    total = hashlib.sha256()
    for file in sorted(f for f in files if f.name.lower().endswith(IMG_EXTENSIONS)):
        entry = f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n"
        total.update(entry.encode())
    return total.hexdigest()[:16]


def _bytes(data: LabelledImages) -> LabelledImages:
    return LabelledImages((data.images * 255).round().to(torch.uint8), data.targets)


def _place(spec: DataSpec) -> Path:
    return data_folder() / Path(spec.path).expanduser()


def _folder(spec: DataSpec) -> Source:
    place = _place(spec)

    def images(folder: Path) -> tuple[LabelledImages, list[str]]:
        try:
            return read_folder(folder, size=spec.size, skip_corrupt=spec.skip_corrupt)
        except CorruptImagesError as error:
            raise CorruptImagesError(
                f"{error}; on the command line: --set data.skip_corrupt=true"
            ) from error

    if (place / "train").is_dir() != (place / "test").is_dir():
        raise ValueError(f"{place} must hold both train and test, or neither")
    if not (place / "train").is_dir():
        data, names = images(place)
        few = [names[c] for c, n in enumerate(data.class_counts(len(names))) if n < 2]
        if few:
            raise ValueError(
                f"every class of {place} needs two images or more, since one is tested on, "
                f"but {few[0]!r} has one"
            )
        kept, held = hold_out(data.targets, FOLDER_TEST_SHARE)
        return Source(data.subset(kept), data.subset(held), names)
    (train, names), (test, of_test) = images(place / "train"), images(place / "test")
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
            "them to one by --set data.size=32"
        )
    return Source(train, test, names)
