"""Train a setting once, and the table of what is recorded."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lpl_lib.lab.ablations.settings import Setting, loss_of
from lpl_lib.lab.data import LabelledImages, digits, hold_out, long_tail_indices
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record, digest
from lpl_lib.lab.training import fit, predict

if TYPE_CHECKING:  # at run time where it is used: it is slow to import
    import pandas as pd

EPOCHS, NUM_CLASSES = 30, 10
HELD_OUT = 0.13  # of the pool: about 15 images a class, and enough left for 100:1
COLUMNS = tuple(field.name for field in fields(Setting))


class Problem(NamedTuple):
    """The images of one seed.

    Attributes:
        train: the long tail.
        validation: held out of the pool before the tail was drawn, so that it is balanced.
        test: as :func:`~lpl_lib.digits` splits it off.
    """

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


@lru_cache(maxsize=4)
def problem(ratio: int, seed: int) -> Problem:
    """Return digits with a long tail, all three parts drawn by the seed.

    >>> data = problem(100, seed=0)
    >>> data.train.class_counts(10).tolist()
    [101, 60, 36, 21, 13, 7, 4, 2, 1, 1]
    >>> len(data.validation.targets), len(data.test.targets)
    (156, 599)
    """
    pool, test = digits(seed=seed)
    kept, held = hold_out(pool.targets, HELD_OUT, seed)
    rest = pool.subset(kept)
    chosen = long_tail_indices(rest.targets, ratio, seed=seed)
    return Problem(rest.subset(chosen), pool.subset(held), test)


def config_of(setting: Setting, seed: int, epochs: int) -> Record:
    """Return all that a run depends on, besides code and device."""
    return {
        "data": {"name": "digits", "draw": seed, "held_out": HELD_OUT},
        "model": {"name": "SmallConvNet"},
        "recipe": {"epochs": epochs, "of": "lpl_lib.fit"},
        "setting": asdict(setting),
        "seed": seed,
    }


def train_setting(setting: Setting, seed: int, epochs: int = EPOCHS) -> Record:
    """Train a small net by a setting; return its record after the last epoch.

    The seed draws images, weights and batches, the same ones for all settings. Both
    validation and test images are scored; settings are to be chosen by the former.

    Args:
        setting: what is done.
        seed: of everything that is drawn.
        epochs: passes over the training images.
    """
    began = time.monotonic()
    data = problem(setting.ratio, seed)
    counts = data.train.class_counts(NUM_CLASSES)
    torch.manual_seed(seed)
    net = SmallConvNet(NUM_CLASSES)
    history = fit(
        net,
        loss_of(setting, counts),
        data.train,
        epochs=epochs,
        batch_size=setting.batch_size,
        seed=seed,
        progress=False,
    )
    config = config_of(setting, seed, epochs)
    scored = {name: _hits(net, part) for name, part in data._asdict().items()}
    return {
        "key": digest(config),
        "experiment": "ablations",
        "data": f"digits-LT {setting.ratio}:1",
        "seed": seed,
        "hits": {name: right for name, (right, _) in scored.items()},
        "images": {name: size for name, (_, size) in scored.items()},
        "confidence": _confidence(net, data.train),
        "loss": float(f"{history[-1]:.6g}"),
        "config": config,
        "wall_seconds": round(time.monotonic() - began, 2),
        **provenance(),
    }


def _hits(net: SmallConvNet, part: LabelledImages) -> tuple[list[int], list[int]]:
    """Images of each class that are right, and all of them."""
    right = predict(net, part.images).argmax(1) == part.targets
    sizes = torch.bincount(part.targets, minlength=NUM_CLASSES)
    hits = torch.bincount(part.targets[right], minlength=NUM_CLASSES)
    return hits.tolist(), sizes.tolist()


def _confidence(net: SmallConvNet, part: LabelledImages) -> list[float]:
    """Mean probability of the own class, over each class's images."""
    p = predict(net, part.images).softmax(1)
    own = p.gather(1, part.targets[:, None])[:, 0]
    total = torch.zeros(NUM_CLASSES).index_add(0, part.targets, own)
    mean: Tensor = total / part.class_counts(NUM_CLASSES)
    return [round(value, 5) for value in mean.tolist()]


def frame(records: list[Record]) -> pd.DataFrame:
    """Return a row for each run: the setting, the seed, and accuracies in percent.

    ``train``, ``validation`` and ``test`` are means over the classes; ``head`` and
    ``tail`` those of the four most frequent and the six other classes in the test set;
    ``q`` is the classes' mean confidence on training images.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for record in records:
        row = {**record["config"]["setting"], "seed": record["seed"]}
        shares = {
            name: [100 * h / n for h, n in zip(hits, record["images"][name], strict=True)]
            for name, hits in record["hits"].items()
        }
        row |= {name: sum(values) / len(values) for name, values in shares.items()}
        row["head"] = sum(shares["test"][:4]) / 4
        row["tail"] = sum(shares["test"][4:]) / 6
        row["q"] = sum(record["confidence"]) / len(record["confidence"])
        rows.append(row)
    return pd.DataFrame(rows)


def rows_of(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Return the rows of one setting, indexed by seed.

    Raises:
        ValueError: no run of it stands in the table.
    """
    found = table
    for name, value in asdict(setting).items():
        column = found[name]
        found = found[column.isna() if value is None else column == value]
    if found.empty:
        raise ValueError(f"table must hold runs of {setting}, but there is none")
    return found.set_index("seed").sort_index()
