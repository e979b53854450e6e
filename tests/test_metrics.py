"""Accuracies against scikit-learn, intervals against scipy and by simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from cases import batches
from hypothesis import given
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, recall_score

from lpl_lib import balanced_accuracy, group_accuracy
from lpl_lib.lab.intervals import mean_interval
from lpl_lib.metrics import class_accuracy, frequency_groups


@given(batches(smallest=2))
def test_class_accuracy_is_the_recall_of_scikit_learn(batch):
    u, y = batch[:2]
    expected = recall_score(
        y, u.argmax(1), labels=range(u.shape[1]), average=None, zero_division=np.nan
    )
    np.testing.assert_allclose(class_accuracy(u, y), expected, rtol=1e-6)


@given(batches(smallest=2))
def test_balanced_accuracy_is_that_of_scikit_learn(batch):
    u, y = batch[:2]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # scikit-learn's, where an absent class is predicted
        expected = balanced_accuracy_score(y, u.argmax(1))
    assert balanced_accuracy(u, y) == pytest.approx(expected, rel=1e-6)


def test_a_single_class_is_always_right():
    u, y = torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)
    assert class_accuracy(u, y).tolist() == [1.0]


def test_group_accuracy_against_a_loop():
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 5, (200,), generator=draw)  # classes 5 and 6 are absent
    u = torch.randn(200, 7, generator=draw)
    groups = frequency_groups([900, 300, 80, 15, 101, 7, 500])
    members = {"head": [0, 1, 4], "medium": [2], "tail": [3]}  # of the classes present
    hits = (u.argmax(1) == y).numpy()
    recall = [hits[y == c].mean() for c in range(5)]
    result = group_accuracy(u, y, groups)
    assert result["all"] == pytest.approx(np.mean(recall))
    for name, classes in members.items():
        assert result[name] == pytest.approx(np.mean([recall[c] for c in classes]))


def test_groups_are_parted_as_published():
    """More than 100 images: head; fewer than 20: tail; both ends are medium."""
    groups = frequency_groups([101, 100, 20, 19])
    assert {name: members.tolist() for name, members in groups.items()} == {
        "head": [0],
        "medium": [1, 2],
        "tail": [3],
    }


def test_groups_by_other_thresholds():
    groups = frequency_groups([9, 5, 1], head_above=5, tail_below=5)
    assert [groups[name].tolist() for name in ("head", "medium", "tail")] == [[0], [1], [2]]


def test_an_empty_group_has_no_accuracy():
    result = group_accuracy(
        torch.eye(2), torch.tensor([0, 1]), frequency_groups([500, 200])
    )
    assert result["head"] == 1
    assert np.isnan(result["tail"])


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("size", [2, 5, 30])
def test_the_interval_is_students(size, level):
    values = np.random.default_rng(size).normal(70, 3, size)
    mean, half = mean_interval(values.tolist(), level)
    expected = stats.t.interval(level, size - 1, values.mean(), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx(expected)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 5))
    covered = [abs(mean - 3.0) <= half for mean, half in map(mean_interval, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.033)  # three standard errors


def test_an_interval_is_printed_with_one_decimal():
    assert str(mean_interval([70.0, 72.0, 71.0])) == "71.0 ± 2.5"
