"""The command line of the experiments.

python -m lpl_lib.lab digits-lt50 --search     # choose hyper-parameters
python -m lpl_lib.lab digits-lt50              # run all methods on all seeds
python -m lpl_lib.lab digits-lt50 --check      # is the recipe long enough?
python -m lpl_lib.lab digits-lt50 --table      # a table from the records
python -m lpl_lib.lab mine.toml                # one of your own
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lpl_lib.lab.records import RESULTS, read
from lpl_lib.lab.specification import Specification, available, load

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
    add("--seeds", nargs="+", type=_seeds, metavar="S", help="numbers or ranges as 0-4")
    add("--search", action="store_true", help="do the trial runs, on the search's seeds")
    add("--check", action="store_true", help="plain training over twice the epochs")
    add("--all", action="store_true", help="trial runs, test runs and the check")
    add("--table", action="store_true", help="print the table of what is recorded")
    add("--missing", action="store_true", help="list the runs that are not recorded")
    add("--tiny", action="store_true", help="try the plan on noise, in runs/tiny")
    add("--jobs", type=_positive, default=1, metavar="K", help="processes at once")
    add("--threads", type=_positive, metavar="T", help="CPU threads of each process")
    add("--minutes", type=_positive, metavar="M", help="pause after M minutes")
    add("--cpu", action="store_true", help="stay on the CPU although there is a GPU")
    add("--quiet", action="store_true", help="no progress bar")
    change = "change the specification, as recipe.epochs=3"
    add("--set", nargs="+", action="extend", default=[], metavar="K=V", help=change)
    add("--results", type=Path, default=RESULTS, metavar="DIR")
    add("--checkpoints", type=Path, default=Path("runs"), metavar="DIR")
    return command


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text!r}")


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    digits = first.isdecimal() and (last or first).isdecimal()
    found = range(int(first), int(last or first) + 1) if digits else range(0)
    if 0 < len(found) <= 10_000:
        return found
    raise argparse.ArgumentTypeError(
        f"must be a number or a range as 0-4, of at most 10,000, got {text!r}"
    )


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
            short = ["search.epochs=1"] if options.tiny and load(name).search else []
            spec = load(name, options.set + short)
            one = "search" if options.search else "check" if options.check else "test"
            for stage in ("search", "test", "check") if options.all else (one,):
                if status := _stage(spec, stage, options):
                    return status
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130  # the shell's status for Ctrl-C


def _stage(spec: Specification, stage: str, options: argparse.Namespace) -> int:
    """The runs of one stage of an experiment, or what is to be said of them."""
    from lpl_lib.lab.fitness import check_runs, fitness
    from lpl_lib.lab.jobs import work
    from lpl_lib.lab.plan import planned, search_runs

    ledger = options.results / f"{spec.name}.jsonl"
    methods = list(dict.fromkeys(options.methods or spec.methods))
    if stray := set(methods) - set(spec.methods):
        raise ValueError(
            f"--methods must be among {list(spec.methods)}, got {sorted(stray)}"
        )
    seeds = list(dict.fromkeys(itertools.chain(*options.seeds or [range(spec.seeds)])))
    if options.table:
        return _show(spec, methods, ledger)
    if stage == "search":
        runs = search_runs(spec, methods)
        if not runs:
            print("nothing to search: there are no candidates", file=sys.stderr)
    elif stage == "check":
        runs = check_runs(spec, seeds)
    else:
        runs = planned(spec, methods, seeds, read(ledger))
    if options.missing:
        recorded = {record["key"] for record in read(ledger)}
        missing = [run for run in runs if run.key not in recorded]
        print(*missing, f"{len(missing)} of {len(runs)} runs are missing", sep="\n")
        return 0
    status = work(runs, options)
    if stage == "check" or (stage == "test" and not options.all):
        print(f"recipe of {spec.name}: {fitness(spec, read(ledger))}", file=sys.stderr)
    return status


def _show(spec: Specification, methods: list[str], ledger: Path) -> int:
    from lpl_lib.lab.fitness import marked
    from lpl_lib.lab.tables import origin, summary, table

    runs = marked(spec, read(ledger), methods)
    if not runs:
        raise ValueError(
            f"no test run of {spec.name} is recorded yet: python -m lpl_lib.lab {spec.name}"
        )
    frame = table(runs)
    shown = summary(frame, list(spec.methods)[:1]).to_string() + frame.attrs["unfit"]
    print(f"{spec.title}\n\n{shown}\n\n{origin(runs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
