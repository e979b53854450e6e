"""What a chapter shows of a ledger: tables, differences, verdicts and where it is from."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lpl_lib.lab.intervals import Interval
from lpl_lib.lab.records import Record, interval, lines, paired, table
from lpl_lib.lab.run.experiment import load_experiment
from lpl_lib.lab.run.report import current

if TYPE_CHECKING:  # at run time where it is used: it is slow to import
    import pandas as pd


def records(name: str) -> list[Record]:
    """Return the test records of an experiment as it stands now; none if none is there.

    As :func:`~lpl_lib.lab.run.report.current`, from :func:`~lpl_lib.lab.records.lines`.

    Args:
        name: of the experiment, such as ``"digits-lt50"``.
    """
    experiment = load_experiment(name)
    methods, seeds = list(experiment.methods), range(experiment.seeds)
    try:
        return current(experiment, methods, seeds, lines(name))
    except ValueError:  # no test run is recorded yet
        return []


def origin(runs: Sequence[Record]) -> str:
    """Return where records of one experiment come from: the stamp under a table.

    Runs, seeds, a digest of the configurations' keys (it changes when a run is added, or
    a configuration changed), commits, device, dates and wall time; and whether runs were
    repeated with the library's code of today, from ``results/repeats.jsonl``.

    >>> origin([])
    'no run is recorded yet'
    """
    if not runs:
        return "no run is recorded yet"
    name = runs[0]["experiment"]
    keys = "".join(sorted(run["key"] for run in runs))
    seeds = sorted({run["seed"] for run in runs})
    dates = sorted({run["date"][:10] for run in runs})
    hours = sum(run["wall_seconds"] for run in runs) / 3600
    commits = sorted({(run["commit"] or "unknown")[:7] for run in runs})
    parts = [
        f"{name}: {len(runs)} runs, {_span('seed', seeds)}; last epoch; configurations "
        f"{hashlib.sha256(keys.encode()).hexdigest()[:12]}",
        f"commit {', '.join(commits)}; "
        f"{', '.join(sorted({run['device'] for run in runs}))}; "
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; {hours:.1f} hours",
    ]
    parts += [_repeated(line) for line in lines("repeats") if line["experiment"] == name]
    return "\n".join(textwrap.fill(part, 78, subsequent_indent="  ") for part in parts)


def _repeated(line: Record) -> str:
    """Whether the runs of an experiment hold for the code of today."""
    if not line["repeated"]:
        return "the library's code has changed since; no run was repeated"
    found = f"{line['repeated']} runs repeated with the library of {line['date'][:10]}: "
    if line["same"] == line["repeated"]:
        return found + "all came out the same"
    return f"{found}{line['same']} came out the same, all within {line['off']} points"


def accuracies(runs: Sequence[Record]) -> str:
    """Return a text table: a line a method, seeds, mean ± 95 % interval by group."""
    frame = table(runs)
    columns = ["all", *frame.columns[5:]]
    out = [f"{'accuracy, %':<22}{'seeds':>5}" + "".join(f"{c:>12}" for c in columns)]
    for method, rows in frame.groupby("method", sort=False):
        values = [_text(interval(rows[column])) for column in columns]
        out.append(f"{method:<22}{len(rows):>5}" + "".join(f"{v:>12}" for v in values))
    return "\n".join(out)


def differences(
    runs: Sequence[Record], over: Sequence[str] = ("ce", "la"), column: str = "all"
) -> str:
    """Return a text table of differences in points, paired by seed, to some methods."""
    frame = table(runs)
    out = [f"{column + ', points':<22}" + "".join(f"{'over ' + o:>16}" for o in over)]
    for method in dict.fromkeys(frame["method"]):
        cells = []
        for other in over:
            found = None if method == other else paired(frame, method, other, column)
            cells.append("" if found is None else _text(found, sign=True))
        out.append(f"{method:<22}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(out)


def order(frame: pd.DataFrame, method: str, over: str) -> tuple[Interval | None, str]:
    """Return by how much a method is above another, and what that says.

    Args:
        frame: from :func:`~lpl_lib.lab.records.table`, of one experiment; may be empty.
        method, over: the one that is said to be better, and the other.

    Returns:
        mean difference with its 95 % interval, ``None`` if not recorded; and ``"agrees"``
        (the interval lies above 0), ``"contradicts"`` (below), ``"cannot be told"`` (it
        holds 0, or there is one seed only) or ``"not recorded"``.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"seed": [0, 1, 0, 1], "method": ["a", "a", "b", "b"],
    ...                       "all": [9.0, 8.0, 5.0, 4.5]})
    >>> order(frame, "a", "b")[1], order(frame, "b", "a")[1], order(frame, "c", "a")[1]
    ('agrees', 'contradicts', 'not recorded')
    """
    found = None if frame.empty else paired(frame, method, over)
    if found is None:
        return None, "not recorded"
    if found.mean - found.half > 0:
        return found, "agrees"
    if found.mean + found.half < 0:
        return found, "contradicts"
    return found, "cannot be told"


def verdict(error: float, frame: pd.DataFrame, method: str) -> tuple[Interval | None, str]:
    """Compare a published error with the recorded one of the same set and net.

    Args:
        error: published top-1 error, percent.
        frame: from :func:`~lpl_lib.lab.records.table`; may be empty.
        method: its name.

    Returns:
        our error, ``None`` if not run; and ``"not run: needs a GPU"``, ``"one seed: no
        verdict"``, ``"reproduced"`` (the published figure lies in our 95 % interval, or
        less than half a point from our mean), ``"ours is lower"``, ``"ours is higher"``.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"method": ["la"] * 3, "all": [78.0, 77.5, 77.0]})
    >>> verdict(22.3, frame, "la")[1], verdict(29.6, frame, "ce")[1]
    ('reproduced', 'not run: needs a GPU')
    """
    values = [] if frame.empty else [*frame.loc[frame["method"] == method, "all"]]
    if not values:
        return None, "not run: needs a GPU"
    ours = interval([100 - value for value in values])
    if len(values) == 1:
        return ours, "one seed: no verdict"
    if abs(ours.mean - error) <= max(ours.half, 0.5):
        return ours, "reproduced"
    return ours, "ours is lower" if ours.mean < error else "ours is higher"


def _span(what: str, seeds: Sequence[int]) -> str:
    """``seeds 0 to 19``, or ``seed 0``."""
    first, last = seeds[0], seeds[-1]
    return f"{what} {first}" if first == last else f"{what}s {first} to {last}"


def _text(found: Interval, *, sign: bool = False) -> str:
    """A mean and its interval; the mean alone of a single run."""
    mean = round(found.mean, 1) + 0.0  # no "-0.0"
    shown = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return shown if found.half != found.half else f"{shown} ± {found.half:.1f}"
