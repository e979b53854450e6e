"""Class counts: from data sets of several kinds, and in the order of their labels."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from lpl_lib import LPL, VS, LogitAdjustment, class_balanced_weights
from lpl_lib.checks import check_class_counts
from lpl_lib.counts import class_counts

LABELS = [2, 0, 2, 2, 1, 2, 0]
COUNTS = [2, 1, 4]


class Labelled(Dataset):
    """With its labels under one of the usual names."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __len__(self):
        return len(LABELS)


class Table:
    """As a Hugging Face data set shows its columns."""

    column_names = ("image", "label")

    def __getitem__(self, name):
        assert name == "label"
        return LABELS


DATASETS = {
    "torchvision": Labelled(targets=LABELS),
    "a tensor": Labelled(targets=torch.tensor(LABELS)),
    "SVHN": Labelled(labels=np.array(LABELS)),
    "MedMNIST": Labelled(labels=np.array(LABELS)[:, None]),
    "a table": Table(),
    "labels": LABELS,
    "a subset": Subset(Labelled(targets=[9, *LABELS, 9], classes="abc"), range(1, 8)),
    "of a subset": Subset(
        Subset(Labelled(targets=[0, 0, *LABELS]), range(1, 9)), range(1, 8)
    ),
}


@pytest.mark.parametrize("name", DATASETS)
def test_counts_of_a_data_set(name):
    assert class_counts(DATASETS[name]).tolist() == COUNTS


def test_classes_without_a_sample_are_counted():
    named = Labelled(targets=LABELS, classes=["a", "b", "c", "d"])
    assert class_counts(named).tolist() == [*COUNTS, 0]
    assert class_counts(LABELS, num_classes=5).tolist() == [*COUNTS, 0, 0]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Labelled(samples=[]), r"labels in one of .* got Labelled; pass the labels"),
        ([0.5, 1.0], r"one integer label a sample, got torch.float32"),
        ([[0, 1], [1, 0]], r"one integer label a sample, got .* shape \(2, 2\)"),
        ([], "one integer label a sample"),
        ([0, -1], r"targets must lie in \[0, 0\], got labels from -1"),
    ],
)
def test_data_sets_without_labels(dataset, message):
    with pytest.raises(ValueError, match=message):
        class_counts(dataset)


def test_counts_by_label_are_put_in_order():
    """Fault 11: what ``value_counts()`` gives is sorted by frequency, its labels beside
    it; the rarest class got the prior of the most frequent one."""
    expected = torch.tensor(COUNTS, dtype=torch.float64)
    for counts in (Counter(LABELS), {2: 4, 0: 2, 1: 1}):
        assert torch.equal(check_class_counts(counts), expected)
        for make in (LogitAdjustment, VS, LPL):
            given, plain = make(counts).state_dict(), make(COUNTS).state_dict()
            assert all(torch.equal(given[name], plain[name]) for name in plain)
        assert torch.equal(class_balanced_weights(counts), class_balanced_weights(COUNTS))


def test_counts_of_pandas():
    pandas = pytest.importorskip("pandas")
    counts = pandas.Series(LABELS).value_counts()
    assert counts.tolist() == [4, 2, 1]
    assert check_class_counts(counts).tolist() == COUNTS
    values = counts.sort_index().values
    values.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that cannot be written
        assert check_class_counts(values).tolist() == COUNTS


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 3, "dog": 1}, r"labels 0 to 1, got \['cat', 'dog'\].*dataset.classes"),
        ({1: 3, 2: 1}, r"labels 0 to 1, got \[1, 2\]"),
        ({}, "non-empty one-dimensional list"),
        ([1e308, 1e308, 1], r"got 1e\+308 for class 0 \(at most 1e\+15\)"),
        ([3, 1e16], r"got 1e\+16 for class 1 \(at most"),
        ([3, float("nan")], "got nan for class 1"),
    ],
)
def test_counts_that_are_none(counts, message):
    with pytest.raises(ValueError, match=message):
        LogitAdjustment(counts)


@pytest.mark.parametrize("value", [1e300, 1e7, 10**400], ids=["1e300", "1e7", "huge"])
def test_extreme_strengths_are_refused(value):
    """Fault 18: ``tau=1e300`` made every loss NaN."""
    with pytest.raises(ValueError, match="tau must be"):
        LogitAdjustment(COUNTS, tau=value)
    with pytest.raises(ValueError, match="bound must be"):
        LPL(COUNTS, bound=value)
