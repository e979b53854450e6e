"""The rule: which recipes are fit for comparing losses."""

from __future__ import annotations

import re

import pytest

from lpl_lib.lab.fitness import check_runs, fitness, marked
from lpl_lib.lab.plan import Run, search_runs
from lpl_lib.lab.specification import load

SPEC = load("digits-lt50", ["seeds=3", "search={}"])
GRID = '{cross-entropy = {"recipe.epochs" = [30, 60]}}'
CHOSEN = load("digits-lt50", ["seeds=3", f"search.grid={GRID}", "search.seeds=[9]"])


def record(run: Run, hits: float, train: float = 1.0) -> dict:
    scores = {"hits": [hits, 100.0], "tested": [100, 100], "train_accuracy": [1, train]}
    return {"key": run.key, "part": run.part, **scores}


def ledger(spec, change: float = 0.0, train: float = 1.0, spread: float = 2.0) -> list:
    """Plain training at 60 %, 62 % and so on, by seed; twice the epochs change it."""
    epochs = spec.recipe.epochs
    return [
        record(
            run,
            60 + spread * run.seed + change * (run.own_spec.recipe.epochs > epochs),
            train,
        )
        for run in check_runs(spec, range(spec.seeds))
    ]


@pytest.mark.parametrize(
    ("facts", "fit", "says"),
    [
        ({}, True, "learnt 100.0 % of its training set"),
        ({"change": 1.0}, True, r"by \+0.5 \(interval ± 2.5\)"),
        ({"change": 8.0}, False, r"by \+4.0"),
        ({"change": -8.0}, False, "by -4.0"),
        ({"change": 1.0, "spread": 0.0}, False, "interval ± 0.0"),
        ({"train": 0.97}, False, "learnt 98.5 %"),
        ({"train": 0.99}, True, "learnt 99.5 %"),
        ({"train": float("nan")}, False, "learnt nan"),
    ],
)
def test_a_recipe_is_fit_if_plain_training_learnt_and_longer_changes_nothing(
    facts, fit, says
):
    found = fitness(SPEC, ledger(SPEC, **facts))
    assert found.fit is fit
    assert re.search(says, found.says)


def test_runs_that_are_missing_are_counted():
    found = fitness(SPEC, ledger(SPEC)[1:])
    assert (found.fit, found.says) == (False, "1 runs are missing: --check does them")


def test_the_recipe_is_the_one_that_held_out_images_choose():
    trials = search_runs(CHOSEN, ["cross-entropy"])
    assert "2 of 2 trial runs are missing" in fitness(CHOSEN, ledger(CHOSEN)).says
    for better, fit in ((60, True), (30, False)):
        found = [record(r, 50 + 9 * (r.params["recipe.epochs"] == better)) for r in trials]
        said = fitness(CHOSEN, found + ledger(CHOSEN))
        assert said.fit is fit
        assert ("epochs=30 is better on held-out images" in said.says) == (not fit)


def test_each_data_set_of_an_experiment_is_judged():
    stress = load("stress", ["seeds=2"])
    runs = check_runs(stress, range(2))
    assert {run.params["data.noise"] for run in runs} == {0.0, 0.2, 0.4}
    found = fitness(stress, ledger(stress))
    assert found.fit
    assert found.says.count("cross-entropy noise=") == 3
    noisy = [
        {**r, "train_accuracy": [0.9]} if run.params["data.noise"] == 0.4 else r
        for run, r in zip(runs, ledger(stress), strict=True)
    ]
    assert fitness(stress, noisy).says.startswith("cross-entropy noise=0.4 learnt 90.0 %")


def test_settings_of_the_recipe_are_not_other_data():
    epochs = {r.own_spec.recipe.epochs for r in check_runs(load("training-longer"), [0])}
    assert epochs == {60, 120}


def test_a_published_protocol_is_shown_not_judged():
    spec = load("cifar10-lt100")
    assert check_runs(spec, range(3)) == []
    plain = record(Run(spec, "cross-entropy"), 70, train=0.5)
    found = fitness(spec, [plain])
    assert (found.fit, str(found)) == (
        None,
        "published, not judged: cross-entropy learnt 75.0 % of its set",
    )
    assert marked(spec, [plain], ["cross-entropy"]) == [{**plain, "recipe": found}]


@pytest.mark.parametrize("name", ["digits", "digits-lt10", "digits-lt50", "canvases"])
def test_an_experiment_without_records_is_not_fit(name):
    assert fitness(load(name), []).fit is False
