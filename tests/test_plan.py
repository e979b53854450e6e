"""The runs of an experiment: their keys, and the rule that chooses hyper-parameters."""

from __future__ import annotations

import pytest

from lpl_lib.lab.plan import Run, choose, current, planned, search_runs
from lpl_lib.lab.specification import load

SPEC = load(
    "digits-lt50",
    ["search.seeds=[100, 101]", "search.grid={LA = {tau = [0.5, 1.0, 1.5, 2.0, 3.0]}}"],
)


def trial(run: Run, hits: int) -> dict:
    return {"key": run.key, "hits": [hits, 10], "tested": [10, 10], "part": run.part}


def ledger(best: float, method: str = "LA") -> list[dict]:
    """Records of the search in which one value is best."""
    return [
        trial(run, 9 if run.params["tau"] == best else 5)
        for run in search_runs(SPEC, [method])
    ]


@pytest.mark.parametrize("best", [0.5, 1.5, 3.0])
def test_the_best_on_held_out_images_is_chosen(best):
    ((params, how),) = choose(SPEC, "LA", ledger(best))
    assert params == {"tau": best}
    assert how.startswith("best of 5 on images held out of the training set, 2 seed(s)")
    assert ("the largest tau tried" in how) == (best == 3.0)


def test_of_equals_the_first_is_chosen():
    records = [trial(run, 5) for run in search_runs(SPEC, ["LA"])]
    assert choose(SPEC, "LA", records)[0][0] == {"tau": 0.5}


def test_the_mean_over_seeds_decides_not_a_single_one():
    hits = {(1.0, 100): 10, (1.0, 101): 0, (2.0, 100): 6, (2.0, 101): 6}
    records = [
        trial(run, hits.get((run.params["tau"], run.seed), 1))
        for run in search_runs(SPEC, ["LA"])
    ]
    assert choose(SPEC, "LA", records)[0][0] == {"tau": 2.0}


def test_test_records_play_no_part_and_missing_trials_are_named():
    with pytest.raises(
        ValueError, match=r"LA: 10 of 10 trial runs are missing: run .*--se"
    ):
        choose(SPEC, "LA", [trial(Run(SPEC, "LA", {"tau": 1.0}), 10)])
    with pytest.raises(ValueError, match="1 of 10"):
        choose(SPEC, "LA", ledger(1.0)[1:])


def test_what_is_not_searched_is_fixed_and_several_settings_are_all_run():
    assert choose(SPEC, "cross-entropy", []) == [({}, "fixed in the experiment's file")]
    stress = load("stress")
    runs = planned(stress, ["LA"], range(2), [])
    assert [run.params["data.noise"] for run in runs] == [0.0, 0.2, 0.4] * 2
    meta = load("meta-split")
    trials = search_runs(meta, ["LPL, learned"])
    assert len(trials) == 2 * 2 * 2
    records = [trial(run, int(4 * run.params["epsilon"])) for run in trials]
    found = choose(meta, "LPL, learned", records)
    assert [params["epsilon"] for params, _ in found] == [2.0, 2.0]


def test_current_records_are_those_of_the_file_as_it_is():
    search = ledger(1.0)
    runs = planned(SPEC, ["LA", "cross-entropy"], range(3), search)
    tests = [trial(run, 7) for run in runs]
    older = load("digits-lt50", ["search.seeds=[100, 101]", "recipe.lr=0.2"])
    stale = [trial(Run(older, "LA", {"tau": 1.0}), 7)]
    found = current(SPEC, [*search, *tests, *stale], ["LA", "cross-entropy"])
    assert {record["key"] for record in found} == {record["key"] for record in tests}
    assert [r["key"] for r in current(SPEC, tests, ["LA", "cross-entropy"])] == [
        run.key for run in runs if run.method == "cross-entropy"
    ]  # the search is not there


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"part": "validation"},
        {"method": "VS"},
        {"params": {"tau": 2.0}},
        {"spec": load("digits-lt50", ["recipe.lr=0.2"])},
        {"spec": load("digits-lt50", ["data.imbalance_ratio=20"])},
        {"spec": load("digits-lt50", ["model.width=8"])},
        {"spec": load("digits-lt50", ["split=confidence"])},
    ],
)
def test_a_key_stands_for_the_whole_configuration(change):
    facts = {"spec": SPEC, "method": "LA", "params": {"tau": 1.0}}
    assert Run(**facts).key != Run(**{**facts, **change}).key


def test_titles_and_how_a_value_was_chosen_are_not_in_the_key():
    named = load("digits-lt50", ["title=another", "data.label=another", "seeds=3"])
    assert Run(SPEC, "LA", chosen_by="so").key == Run(named, "LA", chosen_by="thus").key


def test_methods_that_differ_at_test_time_share_a_training():
    def key(method: str, **params: float) -> str:
        return Run(SPEC, method, params).training_key

    assert key("post-hoc LA", tau=2.0) == key("cross-entropy") != key("LA")
    assert key("post-hoc LA + LPL", tau=2.0, extra=3.0) == key("LPL", extra=3.0)
    assert key("LPL", extra=3.0) != key("LPL", extra=2.0)


def test_a_trial_is_shortened_with_its_schedule():
    spec = load("cifar10-lt100")
    run = Run(spec, "LA", {"tau": 1.0}, 100, "validation")
    assert run.config["recipe"]["epochs"] == spec.search.epochs == 40
    assert run.config["recipe"]["milestones"] == (32, 36)
    assert run.config["held_out"] == 0.1
