"""The command line of the experiments; ``python -m lpl_lib.lab.run --help``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpl_lib.lab.records import RESULTS, read
from lpl_lib.lab.run.experiment import Experiment, available, load_experiment
from lpl_lib.lab.run.problem import load_source, look_anew, require_folder

if TYPE_CHECKING:  # at run time where it is used: --help need not wait for it
    from lpl_lib.lab.run.plan import Run

CHECKPOINTS = Path("runs")


def parser() -> argparse.ArgumentParser:
    """Return the command line's arguments."""
    command = argparse.ArgumentParser(
        prog="python -m lpl_lib.lab.run",
        description="Run an experiment: each method on each seed, recorded run by run. "
        "What is recorded is skipped, what was interrupted goes on.",
        epilog="experiments: " + ", ".join(available()),
    )
    add = command.add_argument
    add("experiment", help="a name from the list below, or a .toml file")
    add("--methods", nargs="+", metavar="M", help="of the experiment's; default all")
    add("--seeds", nargs="+", metavar="S", help="numbers or ranges such as 0-4")
    add("--search", action="store_true", help="do the trial runs, on the search's seeds")
    add("--table", action="store_true", help="print the table of what is recorded")
    add("--figure", metavar="FILE", help="draw the figure of what is recorded")
    add("--missing", action="store_true", help="list the runs that are not recorded")
    add("--shard", metavar="I/N", help="every N-th run, from the I-th; for N machines")
    add("--jobs", type=int, default=1, metavar="K", help="processes at once")
    add("--threads", type=int, metavar="T", help="CPU threads of each process")
    add("--minutes", type=float, metavar="M", help="pause after M minutes")
    add("--checkpoint-every", type=float, default=20.0, metavar="SECONDS")
    add("--cpu", action="store_true", help="stay on the CPU although there is a GPU")
    add("--quiet", action="store_true", help="no progress bar")
    add("--data", metavar="DIR", help="folder of images, for the experiment 'folder'")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="as recipe.epochs=3",
    )
    add("--worker", action="store_true", help=argparse.SUPPRESS)  # one of several
    add("--results", type=Path, default=RESULTS, metavar="DIR")
    add("--checkpoints", type=Path, default=CHECKPOINTS, metavar="DIR")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        return _run(options, list(sys.argv[1:] if arguments is None else arguments))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    look_anew()
    overrides = list(options.set)
    if options.data:
        place = str(Path(options.data).expanduser().absolute())
        overrides.append(f"data.path={json.dumps(place, ensure_ascii=False)}")
    experiment = load_experiment(options.experiment, overrides)
    ledger = options.results / f"{experiment.name}.jsonl"
    if options.table or options.figure:
        return _show(experiment, ledger, options)
    if options.jobs > 1 and not options.missing:
        if experiment.data.name in ("cifar10", "cifar100"):
            load_source(experiment.data)  # one download; the processes find it there
        status = _spread(options, arguments)
        return status or _report_folder(experiment, ledger, options)
    return _work(experiment, ledger, options)


def _runs(experiment: Experiment, ledger: Path, options: argparse.Namespace) -> list[Run]:
    """The runs that the command line asks for, recorded or not."""
    from lpl_lib.lab.run.plan import search_runs, shard
    from lpl_lib.lab.run.select import planned

    require_folder(experiment.data)
    methods = _methods(experiment, options.methods)
    seeds = _seeds(options.seeds, experiment)
    if options.search:
        runs = search_runs(experiment, methods)
    else:
        runs = planned(experiment, methods, seeds, read(ledger))
    return shard(runs, _pair(options.shard)) if options.shard else runs


def _work(experiment: Experiment, ledger: Path, options: argparse.Namespace) -> int:
    """Do the runs, in this process."""
    import torch

    from lpl_lib.lab.run.runner import run_all

    if options.threads:
        torch.set_num_threads(options.threads)
    runs = _runs(experiment, ledger, options)
    if options.search and not runs:
        print("nothing to search: the experiment has no candidates", file=sys.stderr)
    if options.missing:
        recorded = {record["key"] for record in read(ledger)}
        missing = [run for run in runs if run.key not in recorded]
        print(*missing, f"{len(missing)} of {len(runs)} runs are missing", sep="\n")
        return 0
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    run_all(
        runs,
        options.results,
        options.checkpoints,
        until=until,
        checkpoint_every=options.checkpoint_every,
        cpu=options.cpu,
        progress=False if options.quiet else None,
    )
    return 0 if options.worker else _report_folder(experiment, ledger, options)


def _spread(options: argparse.Namespace, arguments: list[str]) -> int:
    """Start several processes on the same list; locks keep them apart."""
    threads = options.threads or _fair_share(options.jobs)
    # of an option that is given twice, the later holds
    own = ["--jobs", "1", "--threads", str(threads), "--quiet", "--worker"]
    command = [sys.executable, "-m", "lpl_lib.lab.run", *arguments, *own]
    # this package, from wherever it was imported and in whatever folder we are
    paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]
    own_paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    workers = [subprocess.Popen(command, env=own_paths) for _ in range(options.jobs)]
    try:
        # the status of a process that a signal ended is negative
        return max(abs(worker.wait()) for worker in workers)
    finally:
        for worker in workers:
            worker.terminate()


def _fair_share(jobs: int) -> int:
    return max((os.cpu_count() or 1) // jobs, 1)


def _show(experiment: Experiment, ledger: Path, options: argparse.Namespace) -> int:
    from lpl_lib.lab.run.report import as_figure, as_markdown, current

    methods = _methods(experiment, options.methods)
    records = current(experiment, methods, _seeds(options.seeds, experiment), read(ledger))
    if options.table:
        print(as_markdown(records, experiment.title))
    if options.figure:
        as_figure(records, experiment.title).savefig(options.figure)
    return 0


def _report_folder(
    experiment: Experiment, ledger: Path, options: argparse.Namespace
) -> int:
    """Print what came out class by class, of a folder whose classes we do not know."""
    if experiment.name != "folder" or options.search:
        return 0
    from lpl_lib.lab.run.report import per_class

    keys = {run.key for run in _runs(experiment, ledger, options)}
    records = [record for record in read(ledger) if record["key"] in keys]
    if records:
        print(per_class(records, load_source(experiment.data).names))
    return 0


def _methods(experiment: Experiment, wanted: Sequence[str] | None) -> list[str]:
    for method in wanted or []:
        if method not in experiment.methods:
            raise ValueError(
                f"--methods must be among {list(experiment.methods)}, got {method!r}"
            )
    return list(dict.fromkeys(wanted or experiment.methods))


def _seeds(wanted: Sequence[str] | None, experiment: Experiment) -> list[int]:
    if not wanted:
        return list(range(experiment.seeds))
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


def _pair(text: str) -> tuple[int, int]:
    try:
        number, of = text.split("/")
        return int(number), int(of)
    except ValueError:
        raise ValueError(f"--shard must be I/N such as 1/4, got {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
