"""The experiments of chapter 15, on digits-LT 50:1.

    python -m lpl_lib.lab.beyond.runs

appends to ``results/digits-beyond.jsonl`` and skips what stands there already, so that it
can be stopped and started again. Three parts:

- *validation*: the settings of the first comparison, on images of the pool that neither
  the long tail nor the meta set took, on seeds of their own;
- *meta*: learned splits against the others, all with the same training images: the long
  tail and the meta set. Two runs do without: cross-entropy on the long tail alone, and a
  learned split that never trains on the images that it is learned with;
- *stress*: methods trained on the long tail alone, with and without label noise; their
  calibration, with a temperature fitted on the meta set, and their accuracy under other
  test priors. Settings as chapter 8's records have them.

Each run reports its last epoch. No setting is chosen on test images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lpl_lib.lab.beyond.meta_split import fit_meta_split
from lpl_lib.lab.beyond.noise import flip_labels
from lpl_lib.lab.beyond.shift import (
    accuracy_under,
    calibration_error,
    fit_temperature,
    long_tail_prior,
)
from lpl_lib.lab.data import LabelledImages, digits, long_tail_indices
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record, append, digest, read
from lpl_lib.lab.training import fit, predict
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import LPL, FrequencyBound, RankSplit
from lpl_lib.metrics import class_accuracy
from lpl_lib.perturbations import LogitAdjustment, Perturbation, log_prior

RESULTS = Path("results/digits-beyond.jsonl")
C, RATIO, EPOCHS, META = 10, 50, 30, 5
SEEDS, TUNING_SEEDS = range(10), range(100, 102)
RATES = (0.0, 0.2, 0.4)
PRIORS = {"forward 50": 50.0, "forward 10": 10.0, "uniform": 1.0}
PRIORS |= {"backward 10": 1 / 10, "backward 50": 1 / 50}
Settings = dict[str, float]
Make = Callable[[Tensor, Settings], Perturbation | None]


class Sets(NamedTuple):
    """The images of a seed: the long tail, a balanced meta set, what both left of the
    pool, and the test set."""

    long_tail: LabelledImages
    meta: LabelledImages
    unused: LabelledImages
    test: LabelledImages

    @property
    def both(self) -> LabelledImages:
        """What all methods of part *meta* may train on, the long tail and the meta set."""
        parts = zip(self.long_tail, self.meta, strict=True)
        return LabelledImages(*(torch.cat(part) for part in parts))


@lru_cache(maxsize=1)
def draw(seed: int, ratio: float = RATIO, per_class: int = META) -> Sets:
    """Return the images of a seed. The meta set is held out first, then the long tail is
    drawn.

    >>> [len(part.targets) for part in draw(0)]
    [307, 50, 841, 599]
    """
    pool, test = digits(seed=seed)
    members = [(pool.targets == c).nonzero()[:, 0] for c in range(C)]
    meta = torch.cat([found[:per_class] for found in members])
    left = torch.cat([found[per_class:] for found in members])
    chosen = left[long_tail_indices(pool.targets[left], ratio, seed=seed)]
    unused = torch.ones(len(pool.targets), dtype=torch.bool)
    unused[torch.cat([meta, chosen])] = False
    return Sets(pool.subset(chosen), pool.subset(meta), pool.subset(unused), test)


def _lpl(counts: Tensor, extra: float, solver: str) -> LPL:
    return LPL(C, RankSplit(counts), FrequencyBound(counts, 0.0, extra), solver)


FITTED: dict[str, Make] = {
    "cross-entropy": lambda n, s: None,
    "cross-entropy, tail only": lambda n, s: None,
    "post-hoc LA": lambda n, s: None,
    "LA": lambda n, s: LogitAdjustment(n, s["tau"]),
    "LPL, confidence": lambda n, s: LPL(C, bound=s["epsilon"], solver="linf"),
    "LPL, rank": lambda n, s: _lpl(n, s["extra"], "linf"),
    "LA + LPL, rank": lambda n, s: LogitAdjustment(n) + _lpl(n, s["extra"], "linf"),
    "LPL": lambda n, s: _lpl(n, s["extra"], "l2"),
    "LA + LPL": lambda n, s: LogitAdjustment(n) + _lpl(n, s["extra"], "l2"),
}
"""Methods that :func:`lpl_lib.fit` trains, from class counts and settings."""

LEARNED = ("LPL, learned, held out", "LPL, learned", "LA + LPL, learned")
"""Methods that :func:`lpl_lib.lab.beyond.meta_split.fit_meta_split` trains."""

GRID: dict[str, list[Settings]] = {
    "LA": [{"tau": t} for t in (0.5, 1.0, 1.5)],
    "LPL, confidence": [{"epsilon": e} for e in (0.25, 0.5, 1.0)],
    "LPL, rank": [{"extra": e} for e in (0.5, 1.0, 2.0)],
    "LA + LPL, rank": [{"extra": e} for e in (0.25, 0.5, 1.0)],
    "LPL, learned, held out": [{"epsilon": e} for e in (0.5, 1.0, 2.0)],
    "LPL, learned": [{"epsilon": e} for e in (0.5, 1.0, 2.0)],
    "LA + LPL, learned": [{"epsilon": e} for e in (0.25, 0.5, 1.0)],
}
COMPARED = ["cross-entropy", "cross-entropy, tail only", *GRID]
STRESSED: dict[str, Settings] = {  # as chosen in results/digits-lt50.jsonl
    "cross-entropy": {},
    "post-hoc LA": {},
    "LA": {"tau": 1.0},
    "LPL": {"extra": 4.0},
    "LA + LPL": {"extra": 1.0},
}


def train(
    method: str,
    settings: Settings,
    data: LabelledImages,
    meta: LabelledImages,
    seed: int,
    epochs: int = EPOCHS,
) -> tuple[SmallConvNet, Tensor | None]:
    """Return a trained net and, for a learned split, its soft signs ``(epochs, C)``.

    Args:
        method: one of ``FITTED`` or ``LEARNED``.
        settings: what it leaves to choose.
        data: the training set.
        meta: the meta set, for learned splits.
        seed: of weights and batches.
        epochs: passes over the data.
    """
    # noise may leave a class without an image
    counts = data.class_counts(C).clamp(min=1)
    torch.manual_seed(seed)
    net = SmallConvNet(C)
    if method not in LEARNED:
        criterion = PerturbedLoss(FITTED[method](counts, settings))
        fit(net, criterion, data, epochs=epochs, seed=seed, progress=False)
        return net, None
    before = LogitAdjustment(counts) if method.startswith("LA") else None
    signs = fit_meta_split(
        net,
        data,
        meta,
        epsilon=settings["epsilon"],
        before=before,
        epochs=epochs,
        seed=seed,
    )
    return net, signs


def run(part: str, method: str, settings: Settings, seed: int, rate: float) -> Record:
    """Train once and return what is to be recorded; see the text of the module."""
    torch.set_num_threads(1)
    sets = draw(seed)
    alone = part == "stress" or method in ("cross-entropy, tail only", LEARNED[0])
    data = sets.long_tail if alone else sets.both
    data = LabelledImages(data.images, flip_labels(data.targets, C, rate, seed))
    began = time.perf_counter()
    net, signs = train(method, settings, data, sets.meta, seed)
    seconds = time.perf_counter() - began
    images, targets = sets.unused if part == "validation" else sets.test
    found = {} if part != "stress" else stress(net, method, data, sets)
    accuracy = class_accuracy(scores(net, method, data, images), targets)
    return {
        **job(part, method, settings, seed, rate),
        "data": f"digits-LT {RATIO}:1, {META} meta images a class",
        "counts": data.class_counts(C).tolist(),
        "tested": targets.bincount(minlength=C).tolist(),
        "accuracy": [round(float(a), 4) for a in accuracy],
        "balanced_accuracy": round(100 * float(accuracy.mean()), 3),
        **found,
        "signs": None
        if signs is None
        else [[round(x, 3) for x in e] for e in signs.tolist()],
        "training": {"net": "SmallConvNet", "epochs": EPOCHS, "batch_size": 64},
        "wall_seconds": round(seconds, 2),
        **provenance(),
    }


def scores(net: SmallConvNet, method: str, data: LabelledImages, images: Tensor) -> Tensor:
    """Return test logits ``(N, C)``; post-hoc LA takes the training prior off."""
    logits = predict(net, images)
    if method != "post-hoc LA":
        return logits
    return logits - log_prior(data.class_counts(C).clamp(min=1)).float()


def stress(
    net: SmallConvNet, method: str, data: LabelledImages, sets: Sets
) -> dict[str, Any]:
    """Return calibration and accuracies under other priors.

    ``known`` are accuracies where the test prior is told and added to the logits, for
    methods whose logits are made for a uniform prior; ``plain`` those without.
    """
    logits, held_out = (scores(net, method, data, d.images) for d in (sets.test, sets.meta))
    y = sets.test.targets
    t = fit_temperature(held_out, sets.meta.targets)
    knows = method in ("post-hoc LA", "LA", "LA + LPL")
    plain, known = {}, {}
    for name, ratio in PRIORS.items():
        prior = long_tail_prior(C, ratio)
        plain[name] = round(100 * accuracy_under(logits, y, prior), 3)
        if knows:
            told = logits + prior.log().float()
            known[name] = round(100 * accuracy_under(told, y, prior), 3)
    return {
        "temperature": round(t, 4),
        "ece": [round(100 * calibration_error(u, y), 3) for u in (logits, logits / t)],
        "nll": [
            round(float(torch.nn.functional.cross_entropy(u, y)), 4)
            for u in (logits, logits / t)
        ],
        "plain": plain,
        "known": known,
    }


def job(part: str, method: str, settings: Settings, seed: int, rate: float) -> Record:
    """Return what is to be run, with its key.

    >>> job("stress", "LA", {"tau": 1.0}, seed=0, rate=0.1)["key"]
    '...'
    """
    wanted: Record = {
        "experiment": "digits-beyond",
        "part": part,
        "method": method,
        "settings": settings,
        "seed": seed,
        "rate": rate,
    }
    return {"key": digest(wanted), **wanted}


def chosen_settings(records: list[Record], method: str) -> Settings:
    """Return the settings with the best mean validation accuracy; of equals, the first.

    Raises:
        ValueError: the method has a grid, and no validation run is recorded.
    """
    if method not in GRID:
        return {}
    means = []
    for settings in GRID[method]:
        found = [
            r["balanced_accuracy"]
            for r in records
            if r["part"] == "validation"
            and (r["method"], r["settings"]) == (method, settings)
        ]
        if not found:
            raise ValueError(f"method {method!r} with {settings} was not validated")
        means.append(sum(found) / len(found))
    return GRID[method][max(range(len(means)), key=means.__getitem__)]


def jobs(path: Path) -> Iterator[tuple[str, str, Settings, int, float]]:
    """Yield all runs; those of part *meta* after the choice of settings."""
    for seed in TUNING_SEEDS:
        for method, grid in GRID.items():
            for settings in grid:
                yield "validation", method, settings, seed, 0.0
    chosen = {method: chosen_settings(read(path), method) for method in COMPARED}
    for seed in SEEDS:
        for method, settings in chosen.items():
            yield "meta", method, settings, seed, 0.0
        for method, settings in STRESSED.items():
            for rate in RATES:
                yield "stress", method, settings, seed, rate


def main(arguments: list[str] | None = None) -> None:
    """Run what the file does not have yet."""
    parser = argparse.ArgumentParser(
        prog="python -m lpl_lib.lab.beyond.runs",
        description="Learned splits, label noise, calibration and other test priors.",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    path = parser.parse_args(arguments).results
    for wanted in jobs(path):
        if job(*wanted)["key"] not in {r["key"] for r in read(path)}:
            record = run(*wanted)
            append(path, record)
            print(*wanted, record["balanced_accuracy"], record["wall_seconds"], flush=True)


if __name__ == "__main__":
    main()
