"""Tables and figures of an experiment, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lpl_lib.lab.records import Record, digest, interval, markdown, table
from lpl_lib.lab.run.experiment import Experiment
from lpl_lib.lab.run.problem import group_members, identity
from lpl_lib.lab.run.select import planned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def current(
    experiment: Experiment,
    methods: Sequence[str],
    seeds: Sequence[int],
    records: Sequence[Record],
) -> list[Record]:
    """Return the test records of an experiment as it stands now, in its order.

    Records of an older version of its file are passed over, and so are methods whose
    search is not complete. Head, medium and tail are those of the file. A folder of
    images need not be at hand: without it, or if it has other images now, the records
    are those of the images that were used last.

    Raises:
        ValueError: there is no record.
    """
    by_key = _by_key(experiment, records)
    known = [{**record, "key": key} for key, record in by_key.items()]
    found = []
    for method in methods:
        try:
            runs = planned(experiment, [method], seeds, known)
        except ValueError:  # its hyper-parameters are not known yet
            continue
        for record in (by_key[run.key] for run in runs if run.key in by_key):
            groups = group_members(torch.tensor(record["counts"]), experiment.groups)
            found.append({**record, "groups": groups})
    if not found:
        raise ValueError(
            f"no test run of {experiment.name} is recorded yet: python -m lpl_lib.lab.run "
            f"{experiment.name}"
        )
    return found


def _by_key(experiment: Experiment, records: Sequence[Record]) -> dict[str, Record]:
    """Records by key; of a folder those of one state of it, keyed as if it were here."""
    if experiment.data.name != "folder" or not records:
        return {record["key"]: record for record in records}
    here = identity(experiment.data)
    used = [record["config"]["data"]["identity"] for record in records]
    state = here if here in used else used[-1]
    found = {}
    for record in records:
        config, data = record["config"], record["config"]["data"]
        if data["identity"] == state:
            found[digest({**config, "data": {**data, "identity": here}})] = record
    return found


def as_markdown(records: Sequence[Record], title: str) -> str:
    """Return an experiment's table with the facts that belong below it."""
    frame = table(records)
    first = records[0]
    devices = ", ".join(sorted({record["device"] for record in records}))
    dates = sorted(record["date"][:10] for record in records)
    return "\n".join(
        [
            f"### {title}",
            "",
            f"Accuracy in percent, mean over classes, last epoch, mean ± 95 % interval "
            f"over seeds. {first['data']}, {first['config']['model']['name']}, "
            f"{first['config']['recipe']['epochs']} epochs; {devices}; "
            f"{dates[0]} to {dates[-1]}.",
            "",
            markdown(frame),
        ]
    )


def as_figure(records: Sequence[Record], title: str) -> Figure:
    """Return a figure: for each method its seeds, mean and interval, by group."""
    import matplotlib.pyplot as plt

    frame = table(records)
    columns = ["all", *frame.columns[5:]]
    methods = list(dict.fromkeys(frame["method"]))[::-1]
    figure, axes = plt.subplots(
        1,
        len(columns),
        figsize=(1.5 + 2.3 * len(columns), 0.8 + 0.28 * len(methods)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, column in zip(axes[0], columns, strict=True):
        for row, method in enumerate(methods):
            values = frame.loc[frame["method"] == method, column]
            mean, half = interval(values)
            axis.plot(
                values,
                [row] * len(values),
                ".",
                color="#56B4E9",
                ms=3,
                zorder=1,  # below the intervals, and all in one picture of an SVG
                rasterized=True,
            )
            axis.errorbar(mean, row, xerr=half, fmt="o", ms=4, color="#333333", capsize=2)
        axis.set(title=column, xlabel="accuracy, %")
    axes[0, 0].set_yticks(range(len(methods)), methods)
    figure.suptitle(title)
    return figure


def per_class(records: Sequence[Record], names: Sequence[str]) -> str:
    """Return a text table: training images, and accuracy of each class by each method.

    Several seeds are averaged.
    """
    by_method: dict[str, list[Record]] = {}
    for record in records:
        by_method.setdefault(record["method"], []).append(record)
    counts = records[0]["counts"]
    width = max(len(name) for name in [*names, "mean of classes"])
    lines = [
        f"{'class':<{width}} {'train':>7} {'test':>6}"
        + "".join(f"{method:>14}" for method in by_method)
    ]
    order = sorted(range(len(names)), key=lambda c: -counts[c])
    shares = {
        method: [
            sum(100 * r["hits"][c] / r["tested"][c] for r in group) / len(group)
            for c in range(len(names))
        ]
        for method, group in by_method.items()
    }
    for c in order:
        tested = records[0]["tested"][c]
        lines.append(
            f"{names[c]:<{width}} {counts[c]:>7} {tested:>6}"
            + "".join(f"{shares[method][c]:>12.1f} %" for method in by_method)
        )
    lines.append(
        f"{'mean of classes':<{width}} {sum(counts):>7} {sum(records[0]['tested']):>6}"
        + "".join(f"{sum(values) / len(values):>12.1f} %" for values in shares.values())
    )
    return "\n".join(lines)
