"""The command line of the experiments.

python -m lpl_lib.lab digits-lt50 --search     # choose hyper-parameters
python -m lpl_lib.lab digits-lt50              # run all methods on all seeds
python -m lpl_lib.lab digits-lt50 --table      # a table from the records
python -m lpl_lib.lab mine.toml                # your own images
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpl_lib.lab.records import RESULTS, read
from lpl_lib.lab.specification import Specification, available, load

if TYPE_CHECKING:  # at run time where it is used: --help need not wait for it
    from lpl_lib.lab.plan import Run

# a plan tried on noise, on the CPU
TINY = ("data.name=random", "data.imbalance_ratio=2", "recipe.epochs=1", "seeds=1")


def parser() -> argparse.ArgumentParser:
    """Return the command line's arguments."""
    command = argparse.ArgumentParser(
        prog="python -m lpl_lib.lab",
        description="Run an experiment: each method on each seed, recorded run by run. "
        "What is recorded is skipped, what was interrupted goes on.",
        epilog="experiments: " + ", ".join(available()),
    )
    add = command.add_argument
    add("experiment", nargs="+", help="names from the list below, or .toml files")
    add("--methods", nargs="+", metavar="M", help="of the experiment's; default all")
    add("--seeds", nargs="+", metavar="S", help="numbers or ranges such as 0-4")
    add("--search", action="store_true", help="do the trial runs, on the search's seeds")
    add("--all", action="store_true", help="do the trial runs, then the test runs")
    add("--table", action="store_true", help="print the table of what is recorded")
    add("--missing", action="store_true", help="list the runs that are not recorded")
    add("--tiny", action="store_true", help="try the plan on noise, in runs/tiny")
    add("--jobs", type=int, default=1, metavar="K", help="processes at once")
    add("--threads", type=int, metavar="T", help="CPU threads of each process")
    add("--minutes", type=float, metavar="M", help="pause after M minutes")
    add("--cpu", action="store_true", help="stay on the CPU although there is a GPU")
    add("--quiet", action="store_true", help="no progress bar")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="as recipe.epochs=3",
    )
    add("--results", type=Path, default=RESULTS, metavar="DIR")
    add("--checkpoints", type=Path, default=Path("runs"), metavar="DIR")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parser().parse_args(arguments)
    if options.tiny:
        options.set += TINY
        options.cpu = True
        options.results = options.checkpoints = Path("runs") / "tiny"
    options.began = time.monotonic()
    try:
        for name in options.experiment:
            spec = _spec(name, options)
            for search in (True, False) if options.all else (options.search,):
                status = _stage(spec, search, options)
                if status:
                    return status
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _spec(name: str, options: argparse.Namespace) -> Specification:
    overrides = list(options.set)
    if options.tiny and load(name).search:
        overrides.append("search.epochs=1")
    return load(name, overrides)


def _stage(spec: Specification, search: bool, options: argparse.Namespace) -> int:
    """The trial runs or the test runs of one experiment, or what is to be said of them."""
    from lpl_lib.lab.plan import planned, search_runs

    ledger = options.results / f"{spec.name}.jsonl"
    methods = _methods(spec, options.methods)
    if options.table:
        return _show(spec, methods, ledger)
    if search:
        runs = search_runs(spec, methods)
        if not runs:
            print("nothing to search: there are no candidates", file=sys.stderr)
    else:
        runs = planned(spec, methods, _seeds(options.seeds, spec), read(ledger))
    if options.missing:
        recorded = {record["key"] for record in read(ledger)}
        missing = [run for run in runs if run.key not in recorded]
        print(*missing, f"{len(missing)} of {len(runs)} runs are missing", sep="\n")
        return 0
    if options.jobs == 1 or not runs:
        _work(runs, options)
        return 0
    from lpl_lib.lab.problem import load_source

    if spec.data.name in ("cifar10", "cifar100"):
        load_source(spec.data)  # one download; the processes find it there
    # processes of their own on the same list: locks keep them apart
    options.quiet = True
    options.threads = options.threads or max((os.cpu_count() or 1) // options.jobs, 1)
    processes = multiprocessing.get_context("spawn")
    workers = [
        processes.Process(target=_work, args=(runs, options), daemon=True)
        for _ in "x" * options.jobs
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(abs(worker.exitcode or 0) for worker in workers)
    finally:
        for worker in workers:
            worker.terminate()


def _work(runs: list[Run], options: argparse.Namespace) -> None:
    """Do runs, in this process."""
    import torch

    from lpl_lib.lab.problem import look_anew
    from lpl_lib.lab.runner import run_all

    look_anew()
    if options.threads:
        torch.set_num_threads(options.threads)
    until = None if options.minutes is None else options.began + 60 * options.minutes
    run_all(
        runs,
        options.results,
        options.checkpoints,
        until=until,
        cpu=options.cpu,
        progress=False if options.quiet else None,
    )


def _show(spec: Specification, methods: list[str], ledger: Path) -> int:
    from lpl_lib.lab.plan import current
    from lpl_lib.lab.tables import markdown, origin, table

    runs = current(spec, read(ledger), methods)
    if not runs:
        raise ValueError(
            f"no test run of {spec.name} is recorded yet: python -m lpl_lib.lab {spec.name}"
        )
    first = next(iter(spec.methods))
    print(f"### {spec.title}\n\n{markdown(table(runs), over=[first])}\n\n{origin(runs)}")
    return 0


def _methods(spec: Specification, wanted: Sequence[str] | None) -> list[str]:
    for method in wanted or []:
        if method not in spec.methods:
            raise ValueError(
                f"--methods must be among {list(spec.methods)}, got {method!r}"
            )
    return list(dict.fromkeys(wanted or spec.methods))


def _seeds(wanted: Sequence[str] | None, spec: Specification) -> list[int]:
    if not wanted:
        return list(range(spec.seeds))
    seeds: list[int] = []
    for part in wanted:
        first, _, last = part.partition("-")
        try:
            seeds += range(int(first), int(last or first) + 1)
        except ValueError:
            raise ValueError(f"--seeds must be numbers or ranges, got {part!r}") from None
    if not seeds:
        raise ValueError(f"--seeds must name at least one seed, got {' '.join(wanted)}")
    return list(dict.fromkeys(seeds))


if __name__ == "__main__":
    sys.exit(main())
