"""Splits: which classes are raised (+1) and which are lowered (-1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpl_lib import ConfidenceSplit, RankSplit
from lpl_lib.lpl import ClassStatistics


def statistics(confidence: list[float], seen: list[int] | None = None) -> ClassStatistics:
    """Statistics with all classes seen unless told otherwise."""
    known = torch.ones(len(confidence)) if seen is None else torch.tensor(seen)
    return ClassStatistics(torch.tensor(confidence), known.bool())


def test_classes_below_the_mean_confidence_are_raised():
    signs = ConfidenceSplit()(statistics([0.9, 0.1, 0.6, 0.4]))
    assert signs.tolist() == [-1, 1, -1, 1]


def test_absent_classes_play_no_part_in_the_threshold():
    """The mean of 0.9 and 0.7 is 0.8; with two zeros for absent classes it would be 0.4."""
    signs = ConfidenceSplit()(statistics([0.9, 0.0, 0.7, 0.0], seen=[1, 0, 1, 0]))
    assert signs[[0, 2]].tolist() == [-1, 1]


@given(st.lists(st.integers(0, 999), min_size=2, max_size=20, unique=True))
def test_confidence_split_against_numpy(thousandths):
    q = np.array(thousandths) / 1000
    seen = np.arange(len(q)) % 3 > 0
    signs = ConfidenceSplit()(statistics((q * seen).tolist(), seen.tolist())).numpy()
    distance = q - q[seen].mean()
    clear = seen & (np.abs(distance) > 1e-6)  # a tie in decimals may be none in binary
    assert (signs[clear] == -np.sign(distance[clear])).all()


@pytest.mark.parametrize(("threshold", "expected"), [(0, -1), (0.6, 1), (0.5, -1), (1, 1)])
def test_a_fixed_threshold_is_compared_strictly(threshold, expected):
    assert ConfidenceSplit(threshold)(statistics([0.5])).item() == expected


def test_a_class_alone_is_lowered():
    """It is its own mean, and not below it."""
    signs = ConfidenceSplit()(statistics([0.0, 0.3, 0.0], seen=[0, 1, 0]))
    assert signs[1] == -1


def test_classes_of_equal_confidence_are_lowered_whatever_their_number():
    """As at the start of training from a head of zeros: none is below the mean."""
    raised = [
        num_classes
        for num_classes in range(2, 101)
        if (ConfidenceSplit()(statistics([1 / num_classes] * num_classes)) > 0).any()
    ]
    assert raised == []


def test_the_most_frequent_classes_are_the_head():
    assert RankSplit([5, 500, 50, 7], num_head=2)(None).tolist() == [1, -1, -1, 1]


@pytest.mark.parametrize(
    ("num_classes", "head"), [(10, 4), (100, 40), (1, 0), (2, 1), (5, 2)]
)
def test_the_head_is_two_fifths_by_default(num_classes, head):
    signs = RankSplit(list(range(num_classes, 0, -1)))(None)
    assert signs.tolist() == [-1] * head + [1] * (num_classes - head)


def test_the_head_may_be_empty_or_all():
    assert RankSplit([3, 2, 1], num_head=0)(None).tolist() == [1, 1, 1]
    assert RankSplit([3, 2, 1], num_head=3)(None).tolist() == [-1, -1, -1]


def test_equal_counts_are_ranked_in_the_classes_order():
    assert RankSplit([7, 7, 7, 7], num_head=2)(None).tolist() == [-1, -1, 1, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_no_tail_class_is_larger_than_a_head_class(counts, data):
    num_head = data.draw(st.integers(0, len(counts)))
    signs, sizes = RankSplit(counts, num_head)(None).numpy(), np.array(counts)
    assert (signs < 0).sum() == num_head
    assert sizes[signs < 0].min(initial=99) >= sizes[signs > 0].max(initial=0)
