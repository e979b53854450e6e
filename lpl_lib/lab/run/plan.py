"""The runs of an experiment, each with a key that stands for its whole configuration."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lpl_lib.lab.methods import TRAINS_AS, hyper_parameters
from lpl_lib.lab.records import digest
from lpl_lib.lab.run.experiment import Experiment, Params
from lpl_lib.lab.run.problem import identity

Part = Literal["test", "validation"]


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        experiment: that it belongs to.
        method: that is trained.
        params: its hyper-parameters.
        seed: of weights, batches, augmentation, and of the data if they are drawn anew.
        part: what it is scored on: ``"test"``, or ``"validation"`` images held out of the
            training set.
        chosen_by: how the hyper-parameters came about; in the record only.
    """

    experiment: Experiment
    method: str
    params: Params
    seed: int
    part: Part
    chosen_by: str = field(default="", compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """All that the outcome depends on, besides code and device."""
        experiment, validates = self.experiment, self.part == "validation"
        search = experiment.search if validates else None
        recipe = experiment.recipe
        if search and search.epochs:
            recipe = recipe.over(search.epochs)
        data = dataclasses.asdict(experiment.data)
        del data["label"], data["path"]
        data["draw"] = self.seed if data["draw"] == "seed" else data["draw"]
        if experiment.data.name == "folder":
            data["identity"] = identity(experiment.data)
        return {
            "data": data,
            "model": dict(experiment.model),
            "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
            "split": experiment.split,
            "method": self.method,
            "params": dict(self.params),
            "seed": self.seed,
            "part": self.part,
            "held_out": search.share if search else 0.0,
        }

    @property
    def key(self) -> str:
        """A digest of the configuration, which names the record."""
        return digest(self.config)

    @property
    def training_key(self) -> str:
        """The name of the checkpoint, which methods that differ at test time only share."""
        config = self.config
        if self.method in TRAINS_AS:
            config["method"] = TRAINS_AS[self.method]
            # what the other training knows nothing of is used at test time only
            known = hyper_parameters(config["method"])
            config["params"] = {k: v for k, v in self.params.items() if k in known}
        return digest(config)

    def __str__(self) -> str:
        params = " ".join(f"{name}={value}" for name, value in self.params.items())
        name = f"{self.experiment.name} {self.method} {params}".strip()
        return f"{name} seed {self.seed}" + (" (search)" * (self.part == "validation"))


def search_runs(experiment: Experiment, methods: Iterable[str]) -> list[Run]:
    """Return the trial runs: each candidate of each method, seed by seed."""
    if experiment.search is None:
        return []
    return [
        Run(experiment, method, params, seed, "validation", "trial")
        for seed in experiment.search.seeds
        for method in methods
        for params in candidates(experiment, method)
        if len(candidates(experiment, method)) > 1
    ]


def candidates(experiment: Experiment, method: str) -> list[Params]:
    """Return all combinations of a method's hyper-parameters that are to be tried."""
    grid = experiment.search.grid.get(method, {}) if experiment.search else {}
    fixed = experiment.methods[method]
    return [
        {**fixed, **dict(zip(grid, values, strict=True))}
        for values in itertools.product(*grid.values())
    ]


def shard(runs: Sequence[Run], part: tuple[int, int]) -> list[Run]:
    """Return every ``n``-th run, beginning with the ``i``-th (from 1), for ``(i, n)``.

    >>> shard([1, 2, 3, 4, 5], (2, 2))
    [2, 4]
    """
    number, of = part
    if not 1 <= number <= of:
        raise ValueError(f"shard must be i/n with 1 <= i <= n, got {number}/{of}")
    return list(runs[number - 1 :: of])
