"""The experiment of chapter 9: each method with and without LPL, on digits-LT 50:1.

    python -m lpl_lib.lab.fusing results/fusing.jsonl

It can be stopped and started again: runs that the file has are not repeated. The bound
of LPL is chosen for each method on images of the pool that the long-tailed training set
left out, on seeds of their own; the methods' other settings are those of their authors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from lpl_lib.lab.data import LabelledImages, digits, long_tail_indices
from lpl_lib.lab.fusing.methods import METHODS, fuse, lpl
from lpl_lib.lab.fusing.training import BATCH_SIZE, train
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record, append, digest, read
from lpl_lib.metrics import frequency_groups

RATIO, EPOCHS = 50, 30
EXTRAS = (0.5, 1.0, 2.0, 4.0)
VALIDATION_SEEDS, TEST_SEEDS = range(100, 105), range(10)
NAMES = [name for name in METHODS if not name.startswith("LPL")]


def draw(seed: int) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Return a long-tailed training set, what it left of the pool, and the test set."""
    pool, test = digits(seed=seed)
    chosen = long_tail_indices(pool.targets, RATIO, seed=seed)
    unused = torch.ones(len(pool.targets), dtype=torch.bool)
    unused[chosen] = False
    return pool.subset(chosen), pool.subset(unused), test


def run(part: str, name: str, extra: float | None, seed: int) -> Record:
    """Train once and return the record; ``extra`` is LPL's bound, ``None`` without."""
    began = time.perf_counter()
    data, unused, test = draw(seed)
    method = METHODS[name] if extra is None else fuse([METHODS[name], lpl(extra)])
    torch.manual_seed(seed)
    net = SmallConvNet(num_classes=10)
    # as many steps as fit() makes: a last batch of one image is left out
    steps = EPOCHS * len([b for b in data.targets.split(BATCH_SIZE) if len(b) > 1])
    trained = train(net, method, data, steps=steps, seed=seed)
    images, targets = unused if part == "validation" else test
    right = trained.logits(images).argmax(1) == targets
    counts = data.class_counts(10)
    sizes = torch.bincount(targets, minlength=10)
    hits = torch.bincount(targets[right], minlength=10)
    groups = frequency_groups(counts, head_above=40, tail_below=10)
    accuracy = hits / sizes
    what: Record = {
        "experiment": "fusing",
        "part": part,
        "method": name,
        "lpl_extra": extra,
        "seed": seed,
        "settings": {
            "net": "SmallConvNet",
            "epochs": EPOCHS,
            "batch_size": BATCH_SIZE,
            "lpl": "l2, RankSplit, FrequencyBound(epsilon=0)",
        },
    }
    return {
        "key": digest(what),
        **what,
        "data": f"digits-LT {RATIO}:1",
        "class_counts": counts.tolist(),
        "tested": sizes.tolist(),
        "hits": hits.tolist(),
        "accuracy": round(float(hits.sum() / sizes.sum()), 4),
        "balanced_accuracy": round(float(accuracy.mean()), 4),
        **{group: round(float(accuracy[of].mean()), 4) for group, of in groups.items()},
        "finite": trained.finite,
        **provenance(),
        "wall_seconds": round(time.perf_counter() - began, 2),
    }


def chosen_extra(records: list[Record], name: str) -> float:
    """Return the bound with the best mean balanced accuracy in validation."""
    scores = {
        extra: sum(
            record["balanced_accuracy"]
            for record in records
            if record["part"] == "validation"
            and (record["method"], record["lpl_extra"]) == (name, extra)
        )
        for extra in EXTRAS
    }
    return max(scores, key=scores.__getitem__)


def wanted(records: list[Record]) -> Iterator[tuple[str, str, float | None, int]]:
    """Yield all runs of the experiment, those of the test after the choice of bounds."""
    for name in NAMES:
        for seed in VALIDATION_SEEDS:
            for extra in EXTRAS:
                yield "validation", name, extra, seed
        for seed in TEST_SEEDS:
            for choice in (None, chosen_extra(records, name)):
                yield "test", name, choice, seed


def main() -> None:
    """Run what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the file of records (JSON lines)")
    path = parser.parse_args().path
    records = read(path)
    keys = ("part", "method", "lpl_extra", "seed")
    done = {tuple(record[key] for key in keys) for record in records}
    for job in wanted(records):
        if job not in done:
            records.append(run(*job))
            append(path, records[-1])


if __name__ == "__main__":
    main()
