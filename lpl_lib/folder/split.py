"""Split images into those that are trained on and those that are tested on."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lpl_lib.lab.data.look import Found


def split(
    found: Found,
    by: Any = None,
    *,
    share: float = 0.2,
    seed: int = 0,
    skip_unusable: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and of the test images, int64, sorted: the parts
    that the folder has, or new ones.

    Of each class a share is tested on, at least one image, and at least one is trained
    on: a class of a single image, or group, is trained on and not scored. Copies stay
    together, and so do the groups of a table of labels.

    Args:
        found: from :func:`~lpl_lib.lab.data.look.look_at`.
        by: ``None`` takes the folder's own parts, else ``"random"`` with a warning.
            ``"order"`` tests on the last images of each class, by their names. A function
            from files to groups keeps those together: a burst, a patient, a day.
        share: of each class that is tested on, in (0, 1).
        seed: of the draw.
        skip_unusable: go on without the files that cannot be used.

    Raises:
        CorruptImagesError: there are such files, and nobody said to leave them out.
        ValueError: a share outside (0, 1), another ``by``, nothing to test on.

    >>> from pathlib import Path
    >>> from lpl_lib.lab.data.look import Row
    >>> rows = [Row(Path(f"cat/{i}.png"), "cat", pixels=str(i)) for i in range(5)]
    >>> split(Found(Path(), ["cat"], rows, [], []), "order")
    (tensor([0, 1, 2, 3]), tensor([4]))
    """
    found.check_usable(skip_unusable, "skip_unusable")
    if not 0 < share < 1 or not (by in (None, "random", "order") or callable(by)):
        text = "share must lie between 0 and 1, and by be None, 'random', 'order' or a"
        raise ValueError(f"{text} function from files to groups, got {share} and {by!r}")
    tested = np.array([row.part == "test" for row in found.rows])
    if by is not None or not tested.any():
        tested = _drawn(found, by, share, seed)
    if not tested.any():
        raise ValueError("found must have a class of two images or groups, to test on one")
    return torch.from_numpy((~tested).nonzero()[0]), torch.from_numpy(tested.nonzero()[0])


def _drawn(found: Found, by: Any, share: float, seed: int) -> np.ndarray:
    """Which images are tested on, ``(N,)``, bool."""
    if by is None and not found.rows[0].group:
        text = "the split is random: of a burst, images fall on both sides, scores flatter"
        remedy = "pass by='order', a function from files to groups, or 'random' if you must"
        warnings.warn(f"{text}; {remedy}", stacklevel=3)
    # img2 comes before img10
    names = [re.sub(r"\d+", lambda n: n[0].zfill(20), str(r.file)) for r in found.rows]
    rows = [row for _, row in sorted(zip(names, found.rows, strict=True))]
    key = {row: by(row.file) if callable(by) else row.group or row.pixels for row in rows}
    members: dict[Any, Counter[str]] = {key[row]: Counter() for row in rows}
    for row in rows:
        members[key[row]][row.label] += 1
    order, chosen, tested = list(members), set(), Counter[str]()
    if by != "order":
        np.random.default_rng(seed).shuffle(order)
    total = Counter(row.label for row in rows)
    for label, size in sorted(total.items(), key=lambda item: item[::-1]):  # rarest first
        for group in reversed([group for group in order if label in members[group]]):
            some_left = all(total[k] - tested[k] > n for k, n in members[group].items())
            if some_left and tested[label] < max(1, round(share * size)):
                chosen.add(group)
                tested += members.pop(group)
                order.remove(group)
    return np.array([key[row] in chosen for row in found.rows])
