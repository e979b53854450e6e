"""The runs of an experiment, and the one rule that chooses hyper-parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from lpl_lib.lab.methods import hyper_parameters, trained_part
from lpl_lib.lab.scores import Record, as_text, class_mean, digest
from lpl_lib.lab.specification import Params, Search, Specification


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        spec: of the experiment that it belongs to.
        method: that is trained.
        params: its hyper-parameters; those with a dot are settings of the experiment.
        seed: of weights, batches, augmentation, and of the data if they are drawn anew.
        part: what it is scored on: ``"test"``, or ``"validation"`` images held out of the
            training set.
        chosen_by: how the hyper-parameters came about; in the record only.
    """

    spec: Specification
    method: str
    params: Params = field(default_factory=dict)
    seed: int = 0
    part: Literal["test", "validation"] = "test"
    chosen_by: str = field(default="", compare=False)

    @property
    def own_spec(self) -> Specification:
        """The experiment as this run has it."""
        spec = self.spec.with_settings(self.params)
        if self.part == "test" or not (spec.search and spec.search.epochs):
            return spec
        return msgspec.structs.replace(spec, recipe=spec.recipe.over(spec.search.epochs))

    @property
    def own_params(self) -> Params:
        """The hyper-parameters of the method alone."""
        return {name: v for name, v in self.params.items() if "." not in name}

    @property
    def held_out(self) -> float:
        """Share of the training set that a trial run is scored on."""
        return (self.spec.search or Search()).share if self.part == "validation" else 0.0

    @property
    def config(self) -> dict[str, Any]:
        """All that the outcome depends on, besides code and device."""
        spec = self.own_spec
        data = msgspec.to_builtins(spec.data)
        del data["label"]
        folder = data.pop("path", None)
        data = {name: self.seed if v == "seed" else v for name, v in data.items()}
        if folder:
            from lpl_lib.lab.data import data_folder
            from lpl_lib.lab.data.tree import folder_digest

            data["identity"] = folder_digest(data_folder() / folder)
        return {
            "data": data,
            "model": dict(spec.model),
            "recipe": msgspec.to_builtins(spec.recipe),
            "split": spec.split,
            "method": self.method,
            "params": self.own_params,
            "seed": self.seed,
            "part": self.part,
            "held_out": self.held_out,
        }

    @property
    def key(self) -> str:
        """A digest of the configuration, which names the record."""
        return digest(self.config)

    @property
    def training_key(self) -> str:
        """The name of the checkpoint, which methods that differ at test time only share."""
        config, task = self.config, self.spec.data.task
        config["method"] = trained_part(self.method, task)
        known = hyper_parameters(config["method"], task)
        config["params"] = {k: v for k, v in config["params"].items() if k in known}
        return digest(config)

    def __str__(self) -> str:
        name = f"{self.spec.name} {self.method} {as_text(self.params)}".strip()
        return f"{name} seed {self.seed}" + (" (search)" * (self.part == "validation"))


def candidates(spec: Specification, method: str) -> list[list[Params]]:
    """Return what is to be tried: for each table that the file fixes of a method, all
    combinations of the other hyper-parameters."""
    grids = spec.search.grids(method) if spec.search else [{}]
    return [
        [
            {**fixed, **dict(zip(grid, values, strict=True))}
            for grid in grids
            for values in itertools.product(*grid.values())
        ]
        for fixed in spec.settings(method)
    ]


def search_runs(spec: Specification, methods: Iterable[str]) -> list[Run]:
    """Return the trial runs: each candidate of each method, seed by seed."""
    return [
        Run(spec, method, params, seed, "validation", "trial")
        for seed in (spec.search.seeds if spec.search else ())
        for method in methods
        for choices in candidates(spec, method)
        for params in choices
        if len(choices) > 1
    ]


def choose(
    spec: Specification, method: str, records: Sequence[Record]
) -> list[tuple[Params, str]]:
    """Return the hyper-parameters that a method is tested with, and how each came about.

    The rule: the highest mean over the search's seeds of the mean over classes (of
    accuracy, or of average precision) on images held out of the training set; of equals,
    the one that stands first in the experiment's file. Test records play no part.

    Args:
        spec, method: whose.
        records: of the experiment's ledger.

    Raises:
        ValueError: trial runs are missing; it says how many.
    """
    by_key = {record["key"]: record for record in records}
    trials = search_runs(spec, [method])
    missing = sum(trial.key not in by_key for trial in trials)
    if missing:
        raise ValueError(
            f"{method}: {missing} of {len(trials)} trial runs are missing: run "
            f"python -m lpl_lib.lab {spec.name} --search --methods '{method}'"
        )
    found = []
    for choices in candidates(spec, method):
        if len(choices) == 1:
            found.append((choices[0], "fixed in the experiment's file"))
            continue
        means = []
        for params in choices:
            own = [class_mean(by_key[t.key]) for t in trials if t.params == params]
            means.append(sum(own) / len(own))
        best = choices[means.index(max(means))]
        how = (
            f"best of {len(choices)} on images held out of the training set, {len(own)} "
            f"seed(s): {as_text(best)} at {max(means):.1f} %{_edge(best, choices)}"
        )
        found.append((best, how))
    return found


def _edge(best: Params, choices: Sequence[Params]) -> str:
    """A remark where a larger value was not tried: the best may lie beyond."""
    largest = [
        name.rpartition(".")[2]
        for name, value in best.items()
        if len({choice[name] for choice in choices}) > 1
        and value == max(choice[name] for choice in choices)
    ]
    return f"; the largest {' and '.join(largest)} tried" if largest else ""


def planned(
    spec: Specification,
    methods: Sequence[str],
    seeds: Iterable[int],
    records: Sequence[Record],
) -> list[Run]:
    """Return the test runs: each method, its hyper-parameters chosen, seed by seed."""
    chosen = {method: choose(spec, method, records) for method in methods}
    return [
        Run(spec, method, params, seed, "test", how)
        for seed in seeds
        for method, found in chosen.items()
        for params, how in found
    ]


def current(
    spec: Specification, records: Sequence[Record], methods: Iterable[str] = ()
) -> list[Record]:
    """Return the test records of an experiment as it stands now, in its order.

    Records of an older version of its file are passed over, and so are methods whose
    search is not complete.
    """
    by_key = {record["key"]: record for record in records}
    found = []
    for method in methods or spec.methods:
        try:
            runs = planned(spec, [method], range(spec.seeds), records)
        except ValueError:  # its hyper-parameters are not known yet
            continue
        found += [by_key[run.key] for run in runs if run.key in by_key]
    return found
