"""The experiment on digit canvases: choose settings on validation images, then compare.

    python -m lpl_lib.lab.multilabel.canvas_runs tune    # seeds 100, 101: choose
    python -m lpl_lib.lab.multilabel.canvas_runs run     # seeds 0 to 9: compare

Both append to ``results/canvases.jsonl`` and skip what stands there already, so that a
run that was cut off goes on where it stopped. Each run trains a small net for a fixed
number of epochs and reports its last epoch. Settings are chosen by the mean average
precision on *validation* canvases, on other seeds than the comparison's; thresholds are
tuned on validation canvases too. Test canvases are looked at only by ``run``, once.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.multilabel.canvases import CanvasSets, canvas_sets
from lpl_lib.lab.multilabel.methods import METHODS, Settings
from lpl_lib.lab.multilabel.net import CanvasNet
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record, append, digest, read
from lpl_lib.lab.training import fit, predict
from lpl_lib.metrics import frequency_groups
from lpl_lib.multilabel.metrics import (
    average_precision,
    f1_scores,
    group_average_precision,
    tuned_thresholds,
)
from lpl_lib.multilabel.sampling import ClassAwareSampler

RESULTS = Path("results/canvases.jsonl")
TRAINING: dict[str, Any] = {"epochs": 20, "batch_size": 64, "lr": 0.3}
RATES = (0.3, 1.0)  # of learning, chosen for each method: losses differ in size
TUNING_SEEDS, SEEDS = range(100, 102), range(10)
TUNING, COMPARISON = "canvases-validation", "canvases"
BASES = {"LA+LPL": "LA", "NTR+LPL": "NTR", "DB-Focal+LPL": "DB-Focal"}


def train_canvases(
    method: str, settings: Settings, data: LabelledImages, seed: int, **training: Any
) -> CanvasNet:
    """Return a net that was trained on canvases by a method of ``METHODS``.

    A method that is made for class-aware sampling gets it, and as many images as the
    others: all methods take the same number of steps.

    Args:
        method: its name.
        settings: what the method leaves to choose, and perhaps the learning rate
            ``"lr"``.
        data: training canvases.
        seed: of the initial weights and of the batches' order.
        training: arguments of :func:`lpl_lib.fit`; default ``TRAINING``.
    """
    counts = data.targets.sum(0)
    criterion = METHODS[method].make(counts, len(data.targets), settings)
    options = TRAINING | {k: v for k, v in settings.items() if k == "lr"} | training
    if METHODS[method].class_aware:  # the images of all epochs, drawn beforehand
        length = options.pop("epochs") * len(data.targets)
        sampler = ClassAwareSampler(data.targets, length=length, seed=seed)
        data = data.subset(torch.tensor(list(sampler)))
        options["epochs"] = 1
    torch.manual_seed(seed)
    net = CanvasNet(num_labels=len(counts))
    fit(net, criterion, data, seed=seed, progress=False, **options)
    return net


def scores(logits: Tensor, targets: Tensor, counts: Tensor, thresholds: Tensor) -> Record:
    """Return mAP by group, F1 at probability one half and at tuned thresholds, and AP."""
    groups = frequency_groups(counts, head_above=99)
    fixed, tuned = (f1_scores(logits, targets, t) for t in (0.0, thresholds))
    return {
        "metrics": {
            "mAP": group_average_precision(logits, targets, groups),
            "F1": fixed,
            "F1 tuned": tuned,
        },
        "per_label_ap": [round(v, 5) for v in average_precision(logits, targets).tolist()],
    }


@lru_cache(maxsize=1)
def sets_of(seed: int) -> CanvasSets:
    """Return the canvases of a seed, made once for all methods."""
    return canvas_sets(seed)


def run_once(experiment: str, method: str, settings: Settings, seed: int) -> Record:
    """Train once and return what is to be recorded."""
    sets = sets_of(seed)
    counts = sets.train.targets.sum(0)
    start = time.perf_counter()
    net = train_canvases(method, settings, sets.train, seed)
    seconds = time.perf_counter() - start
    held_out = predict(net, sets.validation.images)
    thresholds = tuned_thresholds(held_out, sets.validation.targets)
    if experiment == TUNING:
        logits, targets = held_out, sets.validation.targets
    else:
        logits, targets = predict(net, sets.test.images), sets.test.targets
    what: Record = {
        "experiment": experiment,
        "method": method,
        "settings": settings,
        "seed": seed,
    }
    return {
        "key": digest(what),
        **what,
        "data": {
            "name": "digit canvases",
            "evaluated_on": "validation" if experiment == TUNING else "test",
            "counts": counts.int().tolist(),
            "train": len(sets.train.targets),
            "evaluated": len(targets),
        },
        "training": {
            "epochs": TRAINING["epochs"],
            "batch_size": TRAINING["batch_size"],
            "class_aware": METHODS[method].class_aware,
            "net": "CanvasNet",
            "threads": torch.get_num_threads(),
        },
        **scores(logits, targets, counts, thresholds),
        **provenance(),
        "wall_seconds": round(seconds, 1),
    }


def chosen_settings(records: list[Record], method: str) -> Settings:
    """Return the settings with the highest mean validation mAP; of equals, the first.

    Raises:
        ValueError: no tuning run of this method is recorded.
    """
    found: dict[str, tuple[Settings, list[float]]] = {}
    for record in records:
        if record["experiment"] == TUNING and record["method"] == method:
            _, values = found.setdefault(str(record["settings"]), (record["settings"], []))
            values.append(record["metrics"]["mAP"]["total"])
    if not found:
        raise ValueError(f"method {method!r} must be tuned before it is compared")
    return max(found.values(), key=lambda entry: sum(entry[1]) / len(entry[1]))[0]


def _grid(records: list[Record], method: str) -> list[Settings]:
    base: Settings = chosen_settings(records, BASES[method]) if method in BASES else {}
    grid = METHODS[method].grid
    return [base | settings | {"lr": rate} for settings in grid for rate in RATES]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the text of the module."""
    parser = argparse.ArgumentParser(
        prog="python -m lpl_lib.lab.multilabel.canvas_runs",
        description="Compare multi-label losses on digit canvases.",
    )
    parser.add_argument("what", choices=["tune", "run"])
    parser.add_argument(
        "--methods", nargs="+", choices=list(METHODS), default=list(METHODS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=None)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    experiment = TUNING if options.what == "tune" else COMPARISON
    seeds = options.seeds or (TUNING_SEEDS if options.what == "tune" else SEEDS)
    for method in options.methods:
        for seed in seeds:
            records = read(options.results)
            if options.what == "tune":
                grid = _grid(records, method)
            else:
                grid = [chosen_settings(records, method)]
            for settings in grid:
                wanted = {
                    "experiment": experiment,
                    "method": method,
                    "settings": settings,
                    "seed": seed,
                }
                if digest(wanted) in {record["key"] for record in records}:
                    continue
                record = run_once(experiment, method, settings, seed)
                append(options.results, record)
                print(method, settings, seed, record["metrics"]["mAP"], flush=True)


if __name__ == "__main__":
    main()
