"""Do recorded runs come out the same with the code of today?

    python -m tools.recorded                 # note whose code has changed since
    python -m tools.recorded digits fusing   # repeat a run of each method of these

``results/repeats.jsonl`` has a line for each experiment: a digest of the code that its
runs depend on, how many runs were repeated with that very code, how many of them came out
the same, and by how many points of accuracy the others were off at most. When the code
changes, the count falls back to none until the runs are repeated. Comments, docstrings
and layout do not count as code.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record, read
from lpl_lib.lab.run.evidence import records
from tools.bookfiles import ROOT
from tools.library import reached_from
from tools.stamps import digest

RESULTS = ROOT / "results"
REPEATS = RESULTS / "repeats.jsonl"
# they keep and describe runs, and have no part in their outcome
BESIDE = {"records.py", "provenance.py", "checkpoint.py"}


def fusing(record: Record) -> Record:
    """Repeat a run of chapter 9."""
    from lpl_lib.lab.fusing.__main__ import run

    return run(*(record[name] for name in ("part", "method", "lpl_extra", "seed")))


def canvases(record: Record) -> Record:
    """Repeat a run of chapter 11."""
    from lpl_lib.lab.multilabel.canvas_runs import run_once

    return run_once(
        *(record[name] for name in ("experiment", "method", "settings", "seed"))
    )


def ablations(record: Record) -> Record:
    """Repeat a run of chapter 13."""
    from lpl_lib.lab.ablations import Setting, train_setting

    return train_setting(Setting(**record["config"]["setting"]), record["seed"])


def beyond(record: Record) -> Record:
    """Repeat a run of chapter 15."""
    from lpl_lib.lab.beyond.runs import run

    return run(*(record[name] for name in ("part", "method", "settings", "seed", "rate")))


def by_runner(record: Record) -> Record:
    """Repeat a run of ``lpl_lib.lab.run``."""
    from lpl_lib.lab.run.execute import execute
    from lpl_lib.lab.run.experiment import load_experiment
    from lpl_lib.lab.run.plan import Run

    experiment = load_experiment(record["experiment"])
    run = Run(experiment, record["method"], record["params"], record["seed"], "test")
    if run.key != record["key"]:
        raise ValueError(f"{run} is configured otherwise now than when it was recorded")
    with tempfile.TemporaryDirectory() as folder:
        return execute(run, Path(folder), cpu=True, progress=False)[0]


# what starts the runs of an experiment and what repeats one, where it is not the runner
OTHERS: dict[str, tuple[str, Callable[[Record], Record]]] = {
    "ablations": ("lpl_lib.lab.ablations.__main__", ablations),
    "canvases": ("lpl_lib.lab.multilabel.canvas_runs", canvases),
    "digits-beyond": ("lpl_lib.lab.beyond.runs", beyond),
    "fusing": ("lpl_lib.lab.fusing.__main__", fusing),
}
RUNNER = ("lpl_lib.lab.run.execute", by_runner)


def experiments() -> Iterator[str]:
    """Experiments of which runs are recorded."""
    for path in sorted(RESULTS.glob("*.jsonl")):
        if any("commit" in record for record in read(path)):
            yield path.stem


def code(experiment: str, root: Path = ROOT) -> str:
    """A digest of the code that the experiment's runs depend on."""
    start, _ = OTHERS.get(experiment, RUNNER)
    files = [path for path in reached_from(start, root) if path.name not in BESIDE]
    return digest(
        (path.relative_to(root).as_posix(), bare(path.read_text(encoding="utf-8")).encode())
        for path in files
    )[:16]


def bare(source: str) -> str:
    """What a module does: its syntax tree without docstrings.

    >>> bare('"One."\\nx = 1  # why') == bare('x = (1)')
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a text by itself may also describe the line before
            body[:] = [part for part in body if not _is_text(part)]
    return ast.dump(tree)


def entry(experiment: str, off: Sequence[float] = ()) -> Record:
    """The line of an experiment in the ledger; `off` is a number for each repeated run."""
    found: Record = {
        "experiment": experiment,
        "code": code(experiment),
        "repeated": len(off),
        "same": sum(points == 0 for points in off),
        "off": round(max(off, default=0.0), 2),
    }
    return found | {name: provenance()[name] for name in ("date", "device") if off}


def repeat(experiment: str) -> Record:
    """Repeat the first run of each kind that was not for validation, and compare."""
    _, again = OTHERS.get(experiment, RUNNER)
    others = experiment in OTHERS
    runs = read(RESULTS / f"{experiment}.jsonl") if others else records(experiment)
    first: dict[tuple[Any, ...], Record] = {}
    for record in runs:
        if record["experiment"] == experiment and record.get("part") != "validation":
            first.setdefault(kind(record), record)
    off = []
    for sort, record in first.items():
        before, now = by_class(record), by_class(again(record))
        # the same on average, but not class by class, is not the same
        points = abs(fmean(before) - fmean(now))
        off.append(0.0 if before == now else max(points, 0.01))
        if before != now:
            print(experiment, sort, before, now, sep="\n  ", flush=True)
    return entry(experiment, off)


def kind(record: Record) -> tuple[Any, ...]:
    """What tells the methods of an experiment apart, whatever their strength and seed."""
    named = tuple(record.get(name) for name in ("part", "method", "lpl_extra"))
    setting = record.get("config", {}).get("setting", {})
    return *named, *(setting.get(n) for n in ("split", "solver", "attached", "adjusted"))


def by_class(record: Record) -> list[float]:
    """The test outcome in percent, class by class: accuracy, or average precision."""
    if "per_label_ap" in record:
        return [100 * value for value in record["per_label_ap"]]
    if "hits" not in record:
        return [100 * value for value in record["accuracy"]]
    hits = record["hits"]
    if isinstance(hits, dict):  # by part of the data
        hits, sizes = hits["test"], record["images"]["test"]
    else:
        sizes = record["tested"]
    return [100 * right / size for right, size in zip(hits, sizes, strict=True)]


def main(names: list[str]) -> None:
    """Write the ledger anew, a line as soon as it is known."""
    if unknown := sorted(set(names) - set(experiments())):
        raise SystemExit(f"no recorded experiment: {', '.join(unknown)}")
    torch.set_num_threads(1)  # as all runs on digits were done
    known = {line["experiment"]: line for line in read(REPEATS)}
    for name in experiments():
        kept = known.get(name, {})
        if name in names:
            known[name] = repeat(name)
        elif kept.get("code") != code(name):
            known[name] = entry(name)
        text = "".join(json.dumps(known[name]) + "\n" for name in sorted(known))
        REPEATS.write_text(text, encoding="utf-8")
        print(known[name], flush=True)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
