"""Go through runs: skip what is recorded or in work elsewhere, record the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from filelock import FileLock, Timeout

from lpl_lib.lab.engine import PausedError, agreed
from lpl_lib.lab.methods import TRAINS_AS
from lpl_lib.lab.records import append, read
from lpl_lib.lab.run.execute import execute
from lpl_lib.lab.run.plan import Run
from lpl_lib.lab.run.problem import load_problem, save_indices
from lpl_lib.lab.run.select import class_mean

# their finished trainings stay: another method is scored on the same
SHARED = {*TRAINS_AS, *TRAINS_AS.values()}


def run_all(
    runs: Sequence[Run],
    results: Path,
    checkpoints: Path,
    *,
    until: float | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    **options: Any,
) -> int:
    """Do the runs that are not in their ledger; return how many were done.

    Several runners may work on one list: each takes up what no other has in work (a lock
    beside the checkpoint, which the system releases when its process dies).

    Args:
        runs: in this order.
        results: folder of the ledgers.
        checkpoints: folder for trainings that are not finished.
        until: pause once ``time.monotonic()`` is past it.
        say: is told what becomes of each run.
        options: of :func:`lpl_lib.lab.run.execute.execute`.
    """
    done = 0
    main = PartialState(cpu=options.get("cpu", False)).is_main_process
    for number, run in enumerate(runs, 1):
        if until is not None and agreed(time.monotonic() > until):
            say("time is up; the same command goes on")
            break
        ledger = results / f"{run.experiment.name}.jsonl"
        lock = FileLock(checkpoints / f"{run.training_key}.lock")
        if not agreed(_take(run, ledger, lock) if main else False):
            continue
        try:
            record, checkpoint = execute(run, checkpoints, until=until, **options)
            if main:
                # first: what is recorded is not taken up again
                _save_indices(run, results)
                append(ledger, record)
                if run.method not in SHARED:
                    checkpoint.remove()
                share = f"{100 * class_mean(record):.1f} %"
                say(f"[{number}/{len(runs)}] {run}: {share}, {record['wall_seconds']} s")
            done += 1
        except PausedError as pause:
            say(str(pause))
            break
        finally:
            if main:
                lock.release()
    return done


def _save_indices(run: Run, results: Path) -> None:
    """Publish the long tail of a test run beside its record."""
    if run.part == "test":
        spec = run.experiment.data
        path = results / "indices" / f"{run.experiment.name}.txt"
        save_indices(path, spec, load_problem(spec, run.seed))


def _take(run: Run, ledger: Path, lock: FileLock) -> bool:
    """Whether the run is neither recorded nor in work; then it is ours."""
    if run.key in _keys(ledger):
        return False
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    if run.key in _keys(ledger):  # recorded since we looked
        lock.release()
        return False
    return True


def _keys(ledger: Path) -> set[str]:
    return {record["key"] for record in read(ledger)}
