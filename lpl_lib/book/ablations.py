"""Chapter 10's settings of LPL: one choice after the other, and their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from lpl_lib.lab.plan import Run
from lpl_lib.lab.runner import execute
from lpl_lib.lab.scores import Record, as_text, class_mean
from lpl_lib.lab.specification import load
from lpl_lib.lab.tables import table


@dataclass(frozen=True)
class Setting:
    """One way to run LPL on a long-tailed problem; the defaults are plain training.

    Attributes:
        ratio: largest over smallest class of the training set.
        epsilon: bound that all classes have, in nats; with ``extra=0`` it is fixed.
        extra: what is added to some classes' bounds at most (varied bounds).
        only: ``"raised"`` or ``"lowered"``: the side that is moved.
        split: ``"rank"``, ``"confidence"`` or ``"reversed"``.
        num_head: how many classes are the head, if classes are split by rank.
        threshold: of the confidence; ``None`` takes the mean over classes.
        solver: ``"l2"``, ``"linf"`` or ``"algorithm1"`` (with steps of 0.25).
        adjusted: LA comes first (Eq. 15).
    """

    ratio: int = 100
    epsilon: float = 0.0
    extra: float = 0.0
    only: Literal["raised", "lowered"] | None = None
    split: Literal["rank", "confidence", "reversed"] = "rank"
    num_head: int = 4
    threshold: float | None = None
    solver: Literal["l2", "linf", "algorithm1"] = "l2"
    adjusted: bool = False

    @property
    def method(self) -> str:
        """Its name among the methods of the experiments."""
        learned = self.epsilon > 0 or self.extra > 0
        return " + ".join(["LA"] * self.adjusted + ["LPL"] * learned) or "cross-entropy"

    @property
    def params(self) -> dict[str, Any]:
        """Its hyper-parameters there.

        >>> Setting(50, epsilon=2.0).params
        {'epsilon': 2.0, 'data.imbalance_ratio': 50, 'extra': 0.0}
        """
        params = {k: v for k, v in vars(self).items() if v != getattr(Setting, k)}
        params.pop("adjusted", None)
        if "ratio" in params:
            params["data.imbalance_ratio"] = params.pop("ratio")
        if "LPL" in self.method:
            params["extra"] = self.extra
        if self.solver == "algorithm1":
            params["step_size"] = 0.25
        return params


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return a row for each run, as :func:`~lpl_lib.lab.tables.table`: means of classes in
    percent on ``test``, ``train`` and, added here, ``validation`` images, in the ``head``
    and in the ``tail``. What was run stands as text in ``setting``."""
    runs = table(records).rename(columns={"all": "test"})
    runs["validation"] = [class_mean(run["measures"]["validation"]) for run in records]
    runs["setting"] = [_name(run["method"], run["params"]) for run in records]
    return runs


def rows_of(runs: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Return the rows of one setting, of a table from :func:`frame`, indexed by seed.

    Raises:
        ValueError: no run of it stands in the table.
    """
    found = runs[runs["setting"] == _name(setting.method, setting.params)]
    if found.empty:
        raise ValueError(f"runs must hold some of {setting}, but there is none")
    return found.set_index("seed").sort_index()


def train_setting(setting: Setting, seed: int) -> Record:
    """Train a setting once, as the recorded runs; return its record."""
    run = Run(load("ablations"), setting.method, setting.params, seed)
    return execute(run, cpu=True, progress=False)


def _name(method: str, params: dict[str, Any]) -> str:
    return f"{method} {as_text(dict(sorted(params.items())))}"
