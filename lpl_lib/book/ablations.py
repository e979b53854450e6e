"""Chapter 10's settings of LPL: one choice after the other, and their records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lpl_lib.lab.scores import Record, class_mean, class_scores

if TYPE_CHECKING:  # at run time where it is used: it is slow to import
    import pandas as pd

RATIOS = (100, 10)
BOUNDS = (1.0, 2.0, 4.0, 8.0)


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
        parts = ["LA"] * self.adjusted + ["LPL"] * learned
        return " + ".join(parts) or "cross-entropy"

    @property
    def params(self) -> dict[str, Any]:
        """Its hyper-parameters there.

        >>> Setting(50, epsilon=2.0).params
        {'data.imbalance_ratio': 50, 'epsilon': 2.0, 'extra': 0.0}
        """
        changed = {
            name: value
            for name, value in vars(self).items()
            if value != getattr(Setting, name) and name != "adjusted"
        }
        if "LPL" in self.method:
            changed["extra"] = self.extra
            changed |= {"step_size": 0.25} if self.solver == "algorithm1" else {}
        return {
            name.replace("ratio", "data.imbalance_ratio"): v for name, v in changed.items()
        }


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row for each run: method, hyper-parameters, seed, accuracies in percent.

    ``train``, ``validation`` and ``test`` are means over the classes; ``head`` and
    ``tail`` those of the four most frequent and the six other classes in the test set;
    ``q`` is the classes' mean confidence on training images.
    """
    import pandas as pd

    rows = []
    for record in records:
        test, confidence = class_scores(record), record["measures"]["confidence"]
        rows.append(
            {
                "setting": _name(record["method"], record["params"]),
                "seed": record["seed"],
                "train": 10 * sum(record["train_accuracy"]),
                "validation": class_mean(record["measures"]["validation"]),
                "test": sum(test) / 10,
                "head": sum(test[:4]) / 4,
                "tail": sum(test[4:]) / 6,
                "q": sum(confidence) / 10,
            }
        )
    return pd.DataFrame(rows)


def rows_of(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Return the rows of one setting, indexed by seed.

    Raises:
        ValueError: no run of it stands in the table.
    """
    found = table[table["setting"] == _name(setting.method, setting.params)]
    if found.empty:
        raise ValueError(f"table must hold runs of {setting}, but there is none")
    return found.set_index("seed").sort_index()


def train_setting(setting: Setting, seed: int) -> Record:
    """Train a setting once, as the recorded runs; return its record."""
    from lpl_lib.lab.plan import Run
    from lpl_lib.lab.runner import execute
    from lpl_lib.lab.specification import load

    run = Run(load("ablations"), setting.method, setting.params, seed)
    return execute(run, cpu=True, progress=False)


def _name(method: str, params: dict[str, Any]) -> str:
    numbers = {k: float(v) if isinstance(v, int) else v for k, v in params.items()}
    return f"{method} {sorted(numbers.items())}"
