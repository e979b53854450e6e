"""The search for counterexamples: it is whole, finds nothing, and finds what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.counterexamples.draws import Array, Draw, Search, power, probabilities
from benchmarks.counterexamples.gaussians import half_rule, wide_errs_more
from benchmarks.counterexamples.perturbations import variation
from benchmarks.counterexamples.solvers import ball, climbed, gradient, group, mean_loss
from benchmarks.counterexamples.tables import chain, misranked, stationary
from benchmarks.search_counterexamples import DRAWS, NOT_SEARCHED, RESULT, SEARCHES, tried
from tools.bookfiles import ROOT
from tools.ledgers import statements

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import lpl_ledgers

STATED = {statement.label for statement in statements()}


def test_each_statement_is_searched_or_it_is_said_why_not():
    assert SEARCHES.keys() | NOT_SEARCHED.keys() == STATED
    assert not SEARCHES.keys() & NOT_SEARCHED.keys()


@pytest.mark.parametrize("label", SEARCHES)
def test_a_few_instances_bring_no_counterexample(label):
    assert tried(label, SEARCHES[label], seed=1, draws=20)["found"] == []


def test_what_is_recorded_is_whole_and_found_nothing():
    recorded = json.loads(RESULT.read_text(encoding="utf-8"))
    assert recorded["statements"].keys() == SEARCHES.keys()
    assert recorded["not searched"] == NOT_SEARCHED
    for label, found in recorded["statements"].items():
        assert found["draws"] == -(-DRAWS // SEARCHES[label].cost)
        assert found["found"] == []
        assert found["worst"] <= found["tolerance"] == SEARCHES[label].tolerance


def test_the_page_says_how_many_instances_of_what_and_what_was_found(tmp_path, monkeypatch):
    tried = {"one": {"draws": 1500, "found": []}, "two": {"draws": 20, "found": []}}
    recorded = {"seed": 3, "statements": tried, "not searched": {"def": "a definition"}}
    place = tmp_path / "counterexamples.json"
    monkeypatch.setattr(lpl_ledgers, "SEARCHED", place)
    place.write_text(json.dumps(recorded))
    said = lpl_ledgers.what_was_searched()
    assert "(seed 3) drew 1,520 instances of 2 of these 3 statements" in said
    assert "found no counterexample" in said
    tried["two"]["found"] = [7]
    place.write_text(json.dumps(recorded))
    assert "found counterexamples to two;" in lpl_ledgers.what_was_searched()


# --- wordings that were wrong: the same search refutes them ------------------------------


def two_to_one(draw: Draw) -> float:
    """Raising alone corrects at most 2 : 1, also with three classes or more."""
    table = np.abs(draw.normal(size=(4, 4))) * power(draw, -1, 1)
    np.fill_diagonal(table, 0)
    u = np.array([0, 0, *-np.abs(draw.normal(size=2))])
    eta = stationary(chain(table, u))
    return float(max(eta[0] / eta[1], eta[1] / eta[0]) - 2)


def frequent_class_lowered(draw: Draw) -> Iterator[float]:
    """LA lowers the most frequent class, whatever the priors and the strength."""
    prior = np.sort(draw.integers(1, 4, size=3))[::-1] / 10
    tau = draw.integers(3)
    yield float(variation(draw.normal(size=3), tau * np.log(prior), 0) >= -1e-12)


def stops_short(draw: Draw) -> float:
    """Algorithm 1 stops short of the best perturbation of the Euclidean ball."""
    u, radius = group(draw), power(draw, -1, 0.5)
    delta: Array = np.zeros(u.shape[1])
    for _ in range(200):
        delta = delta + radius / 200 * gradient(u, delta)
    starts = [ball(draw, len(delta), radius) for _ in range(5)]
    best = max(mean_loss(u, climbed(u, radius, start)) for start in starts)
    return mean_loss(u, delta) - best


def any_own_shift(draw: Draw) -> float:
    """LDAM's margins on LA decide for the balanced error."""
    prior = np.sort(draw.dirichlet(np.ones(3)))
    table = np.log(prior) - np.diag((prior / prior.min()) ** -0.25)
    u = draw.normal(size=3)
    return misranked(u, stationary(chain(table, u)) / prior)


OLD = {
    "raising corrects 2 : 1": two_to_one,
    "LA for any priors": frequent_class_lowered,
    "Algorithm 1 stops short": stops_short,
    "LDAM on LA is consistent": any_own_shift,
    "the half rule for narrow classes": lambda draw: half_rule(draw, narrow=True),
    "the rare class errs more": lambda draw: wide_errs_more(draw, narrow=True),
}


@pytest.mark.parametrize("wording", OLD)
def test_a_wrong_wording_is_refuted(wording):
    assert tried(wording, Search(OLD[wording], 1e-6, 1), seed=0, draws=60)["found"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_counts_as_a_counterexample(value):
    found = tried("none", Search(lambda draw: [0.0, value], 1e-9, 1), seed=0, draws=1)
    assert found["found"] == [0]


def test_an_instance_depends_on_seed_statement_and_number_alone():
    seen = []
    trial = Search(
        lambda draw: seen.append(probabilities(draw.normal(size=3))) or 0.0, 1, 1
    )
    for _ in range(2):
        tried("a", trial, seed=3, draws=2)
    tried("b", trial, seed=3, draws=1)
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[4])
