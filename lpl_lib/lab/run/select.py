"""The choice of hyper-parameters: a rule on validation records alone."""

from __future__ import annotations

from collections.abc import Sequence

from lpl_lib.lab.records import Record, as_text
from lpl_lib.lab.run.experiment import Experiment, Params
from lpl_lib.lab.run.plan import Run, candidates, search_runs


def choose(
    experiment: Experiment, method: str, records: Sequence[Record]
) -> tuple[Params, str]:
    """Return a method's hyper-parameters, and how they were chosen.

    The rule: the highest mean over the search's seeds of the mean class accuracy on
    images held out of the training set; of equals, the one that stands first in the
    experiment's file. Test records play no part.

    Args:
        experiment, method: whose.
        records: of the experiment's ledger.

    Raises:
        ValueError: trial runs are missing; it says how many.
    """
    choices = candidates(experiment, method)
    if len(choices) == 1:
        return choices[0], "fixed in the experiment's file"
    by_key = {record["key"]: record for record in records}
    trials = search_runs(experiment, [method])
    missing = sum(trial.key not in by_key for trial in trials)
    if missing:
        raise ValueError(
            f"{method}: {missing} of {len(trials)} trial runs are missing: run "
            f"python -m lpl_lib.lab.run {experiment.name} --search --methods {method}"
        )
    scores = [
        _mean([class_mean(by_key[t.key]) for t in _of(trials, params)])
        for params in choices
    ]
    best = choices[scores.index(max(scores))]
    seeds = len({trial.seed for trial in trials})
    return best, (
        f"best of {len(choices)} on images held out of the training set, {seeds} seed(s): "
        f"{as_text(best)} at {100 * max(scores):.1f} %{_edge(best, choices)}"
    )


def _edge(best: Params, choices: Sequence[Params]) -> str:
    """A remark where a larger value was not tried: the best may lie beyond."""
    largest = [
        name
        for name, value in best.items()
        if len({choice[name] for choice in choices}) > 1
        and value == max(choice[name] for choice in choices)
    ]
    return f"; the largest {' and '.join(largest)} tried" if largest else ""


def planned(
    experiment: Experiment,
    methods: Sequence[str],
    seeds: Sequence[int],
    records: Sequence[Record],
) -> list[Run]:
    """Return the test runs: each method, its hyper-parameters chosen, seed by seed."""
    chosen = {method: choose(experiment, method, records) for method in methods}
    return [
        Run(experiment, method, params, seed, "test", how)
        for seed in seeds
        for method, (params, how) in chosen.items()
    ]


def class_mean(record: Record) -> float:
    """Return a record's mean class accuracy, in [0, 1]."""
    return _mean([h / n for h, n in zip(record["hits"], record["tested"], strict=True)])


def _of(trials: Sequence[Run], params: Params) -> list[Run]:
    return [trial for trial in trials if trial.params == params]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
