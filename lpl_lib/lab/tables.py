"""What a reader sees of records: tables, differences, verdicts, and where they are from."""

from __future__ import annotations

import hashlib
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lpl_lib.lab.intervals import Interval, mean_interval
from lpl_lib.lab.scores import Record, as_text, class_scores, train_mean

if TYPE_CHECKING:  # at run time where they are used: they are slow to import
    import pandas as pd
    from matplotlib.figure import Figure

FACTS = ["experiment", "method", "params", "seed"]


def table(records: Iterable[Record], part: str = "test") -> pd.DataFrame:
    """Return one row a run.

    Columns: ``experiment``, ``method``, ``params`` (as text), ``seed``, then in percent
    ``all`` (mean over classes of the accuracy, or over labels of the average precision),
    one column for each group of classes, and ``train``, the same on training images. What
    is wrong with the recipe, and which runs diverged, stands in ``attrs["unfit"]``; all
    that is made of the table shows it.

    Args:
        records: of one or several experiments.
        part: ``"test"``, or ``"validation"`` for the search of hyper-parameters.

    >>> runs = [{"method": "LA", "seed": 0, "part": "test", "experiment": "x",
    ...          "params": {}, "hits": [9, 1], "tested": [10, 10], "groups": {"tail": [1]}}]
    >>> table(runs)[["method", "all", "tail"]].values.tolist()
    [['LA', 50.0, 10.0]]
    """
    import pandas as pd

    rows, unfit = [], dict[str, None]()
    for record in records:
        if record["part"] != part:
            continue
        scores, recipe = class_scores(record), record.get("recipe")
        row = {name: record[name] for name in FACTS} | {"params": as_text(record["params"])}
        row["all"] = sum(scores) / len(scores)
        for name, members in record["groups"].items():
            row[name] = sum(scores[c] for c in members) / len(members)
        rows.append(row | {"train": train_mean(record)})
        if record.get("diverged"):
            said = f"{record['method']}, seed {record['seed']}: diverged, counted as 0"
            unfit[said] = None
        if recipe and recipe.fit is False:
            unfit[f"{record['experiment']}: recipe {recipe}"] = None
    frame = pd.DataFrame(rows)
    frame.attrs["unfit"] = "".join(f"\n{said}" for said in unfit)
    return frame


def columns_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns of test scores: ``all``, and the groups."""
    return [name for name in frame.columns if name not in (*FACTS, "train")]


def interval(values: Iterable[float]) -> Interval:
    """Return mean and 95 % interval; one of NaN for fewer than three runs: that of two is
    13 times as wide as their difference, and says nothing.

    >>> interval([70.0]).mean
    70.0
    """
    runs = list(values)
    known = len(runs) > 2
    return mean_interval(runs) if known else Interval(sum(runs) / len(runs), math.nan)


def paired(
    frame: pd.DataFrame, method: str, over: str, column: str = "all"
) -> Interval | None:
    """Return by how much ``method`` is above ``over``, over the seeds that both have.

    Args:
        frame: from :func:`table`, of one experiment.
        method, over: names of methods.
        column: ``"all"``, a group or ``"train"``.

    Returns:
        mean difference in percentage points with its 95 % interval; ``None`` if they
        share no seed.

    Raises:
        ValueError: a method with several settings, which would be mixed.
    """
    frame = frame[frame["method"].isin([method, over])]
    for name, rows in frame.groupby("method"):
        if "params" in rows and rows["params"].nunique() > 1:
            raise ValueError(f"frame must hold one setting of {name}, got several: choose")
    wide = frame.pivot_table(index="seed", columns="method", values=column)
    if not {method, over} <= set(wide.columns):
        return None
    differences = (wide[method] - wide[over]).dropna()
    return interval(differences) if len(differences) else None


def summary(frame: pd.DataFrame, over: Sequence[str] = ()) -> pd.DataFrame:
    """Return a row a method and set of hyper-parameters, as texts.

    Columns: number of seeds; mean ± 95 % interval of ``all`` and of each group; the mean
    of ``train``; and for each method in ``over`` the difference of ``all`` in points,
    paired by seed.
    """
    import pandas as pd

    out = []
    for other in over:
        if other not in set(frame["method"]):
            raise ValueError(f"over must name methods of the table, got {other!r}")
    several = frame.groupby("method")["params"].nunique().max() > 1
    for (method, params), rows in frame.groupby(["method", "params"], sort=False):
        row = {"method": f"{method} {params}".strip() if several else method}
        row["seeds"] = str(len(rows))
        row |= {name: _text(interval(rows[name])) for name in columns_of(frame)}
        row["train"] = f"{rows['train'].mean():.1f}" if rows["train"].notna().all() else ""
        for other in over:
            base = frame[frame["method"] == other]
            base = base[base["params"] == base["params"].iloc[0]]  # its first settings
            gain = rows.set_index("seed")["all"] - base.set_index("seed")["all"]
            same = base.index.equals(rows.index) or gain.dropna().empty
            found = "" if same else _text(interval(gain.dropna()), sign=True)
            row[f"over {other}"] = found
        out.append(row)
    return pd.DataFrame(out).set_index("method").rename_axis(None)


def best_first(frame: pd.DataFrame, by: str = "all") -> pd.DataFrame:
    """Return a :func:`table` sorted by methods' means, the highest first, ``by`` in front.

    >>> runs = [{"method": m, "seed": 0, "part": "test", "experiment": "x", "params": {},
    ...          "hits": [h], "tested": [10], "groups": {}}
    ...         for m, h in (("LA", 5), ("VS", 6))]
    >>> best_first(table(runs))["method"].tolist()
    ['VS', 'LA']
    """
    means = frame.groupby("method")[by].mean()
    names = [by, *(name for name in columns_of(frame) if name != by)]
    return frame.sort_values("method", key=lambda m: -m.map(means), kind="stable")[
        [*FACTS, *names, "train"]
    ]


class Ranked:
    """A table of results for a page: :func:`best_first`, with the best means in bold.

    Args:
        runs: records of one experiment, at least one.
        by: the column to sort by.
    """

    def __init__(self, runs: Sequence[Record], by: str = "all") -> None:
        frame = best_first(table(runs), by)
        self.shown, self.note = summary(frame), frame.attrs["unfit"]
        self.shown = self.shown[[*columns_of(frame), "train", "seeds"]]

    def __repr__(self) -> str:
        return self.shown.to_string() + self.note

    def _repr_html_(self) -> str:
        bold = self.shown.copy()
        for name in self.shown.columns[:-2]:
            means = self.shown[name].str.split().str[0].astype(float)
            bold.loc[means == means.max(), name] = "<b>" + bold[name] + "</b>"
        return bold.to_html(escape=False, border=0) + self.note.replace("\n", "<br>")


def origin(runs: Sequence[Record]) -> str:
    """Return where records of one experiment come from: the stamp under a table.

    Runs, seeds, a digest of the configurations' keys (it changes when a run is added, or
    a configuration changed), commits, device, dates, wall time, and whether the recipe is
    fit for comparing losses.

    >>> origin([])
    'no run is recorded yet'
    """
    if not runs:
        return "no run is recorded yet"
    keys = "".join(sorted(run["key"] for run in runs))
    seeds = sorted({run["seed"] for run in runs})
    dates = sorted({run["date"][:10] for run in runs})
    hours = sum(run["wall_seconds"] for run in runs) / 3600
    commits = sorted({(run["commit"] or "unknown")[:7] for run in runs})
    span = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    parts = [
        f"{runs[0]['experiment']}: {len(runs)} runs, {span}; last epoch; configurations "
        f"{hashlib.sha256(keys.encode()).hexdigest()[:12]}",
        f"commit {', '.join(commits)}; "
        f"{', '.join(sorted({run['device'] for run in runs}))}; "
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; {hours:.1f} hours",
        f"recipe {runs[0].get('recipe', 'not judged')}",
    ]
    return "\n".join(textwrap.fill(part, 78, subsequent_indent="  ") for part in parts)


def order(frame: pd.DataFrame, method: str, over: str) -> tuple[Interval | None, str]:
    """Return by how much a method is above another, and what that says.

    Args:
        frame: from :func:`table`, of one experiment; may be empty.
        method, over: the one that is said to be better, and the other.

    Returns:
        mean difference with its 95 % interval, ``None`` if not recorded; and ``"agrees"``
        (the interval lies above 0), ``"contradicts"`` (below), ``"cannot be told"`` (it
        holds 0, or there are fewer than three seeds) or ``"not recorded"``.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"seed": [0, 1, 2] * 2, "method": [*"aaabbb"],
    ...                       "all": [9.0, 8.0, 8.5, 5.0, 4.5, 4.0]})
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
        frame: from :func:`table`; may be empty.
        method: its name.

    Returns:
        our error, ``None`` if not run; and ``"not run"``, ``"too few seeds"`` below three,
        ``"reproduced"`` (the published figure lies in our 95 % interval, or less than half
        a point from our mean), ``"ours is lower"``, ``"ours is higher"``.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"method": ["LA"] * 3, "all": [78.0, 77.5, 77.0]})
    >>> verdict(22.3, frame, "LA")[1], verdict(29.6, frame, "LPL")[1]
    ('reproduced', 'not run')
    """
    values = [] if frame.empty else [*frame.loc[frame["method"] == method, "all"]]
    if not values:
        return None, "not run"
    ours = interval([100 - value for value in values])
    if len(values) < 3:
        return ours, "too few seeds"
    if abs(ours.mean - error) <= max(ours.half, 0.5):
        return ours, "reproduced"
    return ours, "ours is lower" if ours.mean < error else "ours is higher"


def dot_plot(frame: pd.DataFrame, title: str = "", over: str | None = None) -> Figure:
    """Return a figure: for each method its seeds, mean and interval, by group.

    Args:
        frame: from :func:`table`, of one experiment.
        title: of the figure.
        over: a method, to show differences to it, paired by seed, in its place.
    """
    import matplotlib.pyplot as plt

    columns, what = columns_of(frame), "accuracy, %"
    if over is not None:
        base = frame[frame["method"] == over].set_index("seed")[columns]
        frame = frame[frame["method"] != over].copy()
        frame[columns] -= base.reindex(frame["seed"]).to_numpy()
        what = f"points over {over}"
    methods = list(dict.fromkeys(frame["method"]))[::-1]
    size = (1.5 + 1.9 * len(columns), 0.8 + 0.28 * len(methods))
    figure, axes = plt.subplots(
        1,
        len(columns),
        figsize=size,
        sharey=True,
        squeeze=False,
        layout="constrained",
        gridspec_kw={"wspace": 0.06},
    )
    # the dots below the intervals, and all in one picture of an SVG
    dots = {"color": "#56B4E9", "ms": 3, "zorder": 1, "rasterized": True}
    bars = {"fmt": "o", "ms": 4, "color": "#333333", "capsize": 2}
    for axis, column in zip(axes[0], columns, strict=True):
        for row, method in enumerate(methods):
            values = frame.loc[frame["method"] == method, column].dropna()
            mean, half = interval(values)
            axis.plot(values, [row] * len(values), ".", **dots)
            axis.errorbar(mean, row, xerr=half, **bars)
        axis.set(title=column, xlabel=what)
    axes[0, 0].set_yticks(range(len(methods)), methods)
    if title or frame.attrs.get("unfit"):
        figure.suptitle(title + frame.attrs.get("unfit", ""))
    return figure


def _text(found: Interval, *, sign: bool = False) -> str:
    """A mean and its interval; the mean alone of a single run."""
    mean = round(found.mean, 1) + 0.0  # no "-0.0"
    shown = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return shown if found.half != found.half else f"{shown} ± {found.half:.1f}"
