"""Whether a recipe is fit for comparing losses: has plain training learnt with it?

What a loss seems to gain may be mere speed if plain training was stopped before it had
fitted its own training set. So the recipe is chosen for plain training, on held-out images,
and is fit only if there

a. at least 99 % of the training set is right after the last epoch, in the mean
   over classes (of several labels: the mean average precision), and
b. twice as many epochs change the test figure by less than its 95 % interval.

A recipe that others have published is shown, not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lpl_lib.lab.intervals import mean_interval
from lpl_lib.lab.methods import METHODS
from lpl_lib.lab.plan import Run, choose, current
from lpl_lib.lab.scores import Record, as_text, class_mean, train_mean
from lpl_lib.lab.specification import Specification

ENOUGH = 0.99


class Fitness(NamedTuple):
    """What becomes of an experiment's recipe.

    Attributes:
        fit: whether it is fit; ``None`` if it is not for us to judge.
        says: why, in a line.
    """

    fit: bool | None
    says: str

    def __str__(self) -> str:
        verdicts = {True: "fit: ", False: "NOT FIT for comparing losses: ", None: ""}
        return verdicts[self.fit] + self.says


def check_runs(spec: Specification, seeds: Iterable[int]) -> list[Run]:
    """Return plain training over the recipe's epochs and over twice as many, seed by seed,
    on each data set of the experiment; none for a published recipe."""
    pairs = [] if spec.protocol == "published" else _pairs(spec, list(seeds))
    return [run for pair in pairs for runs in pair for run in runs]


def fitness(spec: Specification, records: Sequence[Record]) -> Fitness:
    """Judge a recipe by the records of its experiment.

    >>> from lpl_lib.lab.specification import load
    >>> str(fitness(load("stress"), []))
    'NOT FIT for comparing losses: 60 runs are missing: --check does them'
    """
    plain, by_key = _plain(spec), {record["key"]: record for record in records}
    pairs, said = _pairs(spec, range(spec.seeds)), []
    if spec.protocol == "published":
        shares = [train_mean(by_key[run.key]) for run in pairs[0][0] if run.key in by_key]
        learnt = f"{sum(shares) / len(shares):.1f}" if shares else "?"
        return Fitness(None, f"published, not judged: {plain} learnt {learnt} % of its set")
    if spec.search and plain in spec.search.grid:
        try:
            ((best, _),) = choose(spec, plain, records)
        except ValueError as error:
            return Fitness(False, f"not chosen: {error}")
        if spec.with_settings(best).recipe != spec.recipe:
            return Fitness(False, f"{as_text(best)} is better on held-out images")
    missing = sum(run.key not in by_key for run in check_runs(spec, range(spec.seeds)))
    if missing:
        return Fitness(False, f"{missing} runs are missing: --check does them")
    for pair in pairs:
        once, twice = ([class_mean(by_key[run.key]) for run in runs] for runs in pair)
        share = sum(train_mean(by_key[run.key]) for run in pair[0]) / len(once)
        change = (sum(twice) - sum(once)) / len(once)
        half = mean_interval(once).half if len(once) > 1 else 0.0
        where = as_text({k: v for k, v in pair[0][0].params.items() if "." in k})
        said.append(
            f"{plain} {where}".strip() + f" learnt {share:.1f} % of its training set; "
            f"twice the epochs change its score by {change:+.1f} (interval ± {half:.1f})"
        )
        if not (share >= 100 * ENOUGH and abs(change) < half):
            return Fitness(False, said[-1])
    return Fitness(True, "; ".join(said))


def marked(
    spec: Specification, records: Sequence[Record], methods: Iterable[str] = ()
) -> list[Record]:
    """Return :func:`~lpl_lib.lab.plan.current` records, each with the ``"recipe"``'s
    :class:`Fitness`, which tables show."""
    said = fitness(spec, records)
    return [{**record, "recipe": said} for record in current(spec, records, methods)]


def _plain(spec: Specification) -> str:
    """Return the name of plain training, cross-entropy or BCE."""
    return next(iter(METHODS[spec.data.task]))


def _pairs(spec: Specification, seeds: Iterable[int]) -> list[tuple[list[Run], list[Run]]]:
    """Plain training as it is and over twice the epochs, on each data set."""
    plain, longer = _plain(spec), {"recipe.epochs": 2 * spec.recipe.epochs}
    tables = spec.settings(plain) if plain in spec.methods else []
    data = [table for table in tables if all(name.startswith("data.") for name in table)]

    def runs(params: dict[str, object]) -> list[Run]:
        return [Run(spec, plain, params, seed, "test", "check") for seed in seeds]

    return [(runs(table), runs(table | longer)) for table in data or [{}]]
