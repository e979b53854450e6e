"""The images of a run: which are trained on, and which it is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from lpl_lib.lab import data as sets
from lpl_lib.lab.data import LabelledImages, data_folder
from lpl_lib.lab.data.folder import read_parts
from lpl_lib.lab.data.tree import folder_digest
from lpl_lib.lab.files import write_whole
from lpl_lib.lab.specification import Data, Groups
from lpl_lib.metrics import frequency_groups

Source = tuple[LabelledImages, LabelledImages, list[str]]
TEN = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Problem:
    """The images of one run.

    Attributes:
        train: trained on.
        scored: the test set, or images held out of the training set.
        names: of the classes.
        counts: training images per class, ``(C,)``.
        indices: of the training images among those of the source; ``None`` for canvases.
        validation: held out in a test run, too; may be ``None``.
        meta: the meta set; may be ``None``.
    """

    train: LabelledImages
    scored: LabelledImages
    names: list[str]
    counts: Tensor
    indices: Tensor | None = None
    validation: LabelledImages | None = None
    meta: LabelledImages | None = None


def load_problem(data: Data, seed: int, held_out: float = 0.0) -> Problem:
    """Return the images of a run.

    Args:
        data: from the experiment.
        seed: of the run, which draws what the experiment says is drawn anew.
        held_out: share of each training class to score on in the place of the test set.
            It is taken off before the long tail is drawn, so that it is balanced where
            the source is.

    Raises:
        ValueError, RuntimeError, FileNotFoundError: see
            :mod:`lpl_lib.lab.data.folder` and :mod:`lpl_lib.lab.data.cifar`.
    """
    draw = seed if data.draw == "seed" else data.draw
    if data.name == "canvases":
        found = sets.canvas_sets(draw)
        scored = found.validation if held_out else found.test
        counts = found.train.class_counts(len(TEN))
        return Problem(found.train, scored, TEN, counts, validation=found.validation)
    pool, scored, names = load_source(data, seed if data.split == "seed" else data.split)
    chosen = torch.arange(len(pool.targets))
    validation = meta = None
    if data.meta:
        first = [(pool.targets == c).nonzero()[: data.meta, 0] for c in range(len(names))]
        meta = pool.subset(torch.cat(first))
        chosen = chosen[~torch.isin(chosen, torch.cat(first))]
    if held_out or data.held_out:
        kept, held = sets.hold_out(pool.targets[chosen], held_out or data.held_out, draw)
        validation, chosen = pool.subset(chosen[held]), chosen[kept]
        scored = validation if held_out else scored
    if data.imbalance_ratio > 1:
        tail = sets.long_tail_indices(pool.targets[chosen], data.imbalance_ratio, seed=draw)
        chosen = chosen[tail]
    train = pool.subset(chosen)
    if meta is not None and data.with_meta:
        train = LabelledImages(*map(torch.cat, zip(train, meta, strict=True)))
    if data.noise:
        noisy = sets.flip_labels(train.targets, len(names), data.noise, seed)
        train = LabelledImages(train.images, noisy)
    # noise may leave a class without an image
    counts = train.class_counts(len(names)).clamp(min=1)
    return Problem(train, scored, names, counts, chosen, validation, meta)


def load_source(data: Data, split: int = 0) -> Source:
    """Return a data set, decoded once: training set, test set, class names."""
    place = str(data_folder() / Path(data.path).expanduser())
    content = folder_digest(place) if data.path else ""  # it may have changed since
    return _source(data.name, split, place, data.size, data.skip_corrupt, content)


@lru_cache(maxsize=4)
def _source(
    name: str, split: int, place: str, size: int | None, skip_corrupt: bool, content: str
) -> Source:
    if name == "digits":
        return *sets.digits(seed=split), TEN
    if name == "folder":
        return read_parts(place, size=size, skip_corrupt=skip_corrupt)
    if name == "random":
        draw = torch.Generator().manual_seed(split)
        images = torch.randint(256, (600, 3, 32, 32), generator=draw, dtype=torch.uint8)
        both = LabelledImages(images, torch.arange(600) % 10)
        train = torch.arange(600) < 400
        return both.subset(train), both.subset(~train), TEN
    return sets.cifar(name)  # type: ignore[arg-type]


def group_members(counts: Tensor, groups: Groups | None) -> dict[str, list[int]]:
    """Return the classes of head, medium and tail; none for a balanced set, no empty group.

    >>> group_members(torch.tensor([90, 30, 20]), Groups(head_above=50, tail_below=10))
    {'head': [0], 'medium': [1, 2]}
    """
    if groups is None:
        return {}
    members = frequency_groups(counts, **msgspec.structs.asdict(groups))
    return {name: part.tolist() for name, part in members.items() if len(part)}


def save_indices(path: Path, data: Data, seed: int) -> None:
    """Write down which training images a fixed long tail consists of, once.

    Results move with the draw, so it is published: a line a class, each with the indices
    of its images among the source's training images in their order (of their files, if
    it is a folder). A draw anew for each seed is not written down.
    """
    fixed = data.draw != "seed" and data.imbalance_ratio > 1 and not data.with_meta
    if path.exists() or not fixed or (problem := load_problem(data, seed)).indices is None:
        return
    lines = [f"# {data.label}, seed {data.draw}: training images of each class"]
    for c in range(len(problem.names)):
        members = problem.indices[problem.train.targets == c]
        lines.append(" ".join(map(str, members.tolist())))
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))
