"""Bounds: fixed, by confidence (Eq. 13), by frequency and by ratios (Eq. 14)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpl_lib import ConfidenceBound, FixedBound, FrequencyBound
from lpl_lib.lab.variants import ConfidenceRatioBound
from lpl_lib.lpl import ClassStatistics

strengths = st.floats(0, 8, allow_subnormal=False)


def test_the_fixed_bound_is_the_same_for_all():
    assert FixedBound(0.25)(None, torch.tensor([1.0, -1.0, 1.0])).tolist() == [0.25] * 3


@given(
    q=st.lists(st.floats(0, 1), min_size=1, max_size=9), epsilon=strengths, extra=strengths
)
@pytest.mark.parametrize("threshold", [None, 0.0, 0.7])
def test_the_confidence_bound_against_numpy(threshold, q, epsilon, extra):
    """Fault 10: it had a threshold of its own beside the split's."""
    seen = torch.ones(len(q), dtype=torch.bool)
    statistics = ClassStatistics(torch.tensor(q), seen, threshold)
    bound = ConfidenceBound(epsilon, extra)
    tau = np.mean(q) if threshold is None else threshold
    expected = epsilon + extra * np.abs(tau - np.array(q))
    values = bound(statistics, torch.ones(len(q)))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    assert values.max() <= bound.largest * (1 + 1e-6)


def test_absent_classes_play_no_part_in_the_confidence_bound():
    statistics = ClassStatistics(
        torch.tensor([0.9, 0.0, 0.5]), torch.tensor([True, False, True])
    )
    values = ConfidenceBound(0.1, extra=1.0)(statistics, torch.ones(3))
    assert values[[0, 2]].tolist() == pytest.approx([0.3, 0.3])


@given(
    counts=st.lists(st.integers(1, 1000), min_size=1, max_size=9),
    epsilon=strengths,
    extra=strengths,
    seed=st.integers(0, 999),
)
def test_the_frequency_bound_against_numpy(counts, epsilon, extra, seed):
    n = np.array(counts)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(n))
    bound = FrequencyBound(counts, epsilon, extra)
    expected = epsilon + extra * np.where(signs < 0, n / n.max(), n.min() / n)
    values = bound(None, torch.tensor(signs))
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert values.max() <= bound.largest * (1 + 1e-6)


def test_the_largest_frequency_bounds_are_at_both_ends():
    values = FrequencyBound([100, 50, 10], epsilon=0, extra=1)(
        None, torch.tensor([-1, 1, 1.0])
    )
    assert values.tolist() == pytest.approx([1.0, 0.2, 1.0])


@given(
    thousandths=st.lists(st.integers(1, 1000), min_size=3, max_size=9),
    epsilon=strengths,
    extra=strengths,
    seed=st.integers(0, 999),
)
def test_the_ratio_bound_against_numpy(thousandths, epsilon, extra, seed):
    """The first class is the most frequent, the last the rarest; ratios end at 1."""
    q = np.array(thousandths) / 1000
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(q))
    bound = ConfidenceRatioBound(list(range(len(q), 0, -1)), epsilon, extra)
    ratio = np.minimum(np.where(signs < 0, q / q[0], q[-1] / q), 1)
    seen = torch.ones(len(q), dtype=torch.bool)
    values = bound(ClassStatistics(torch.tensor(q), seen), torch.tensor(signs))
    np.testing.assert_allclose(values, epsilon + extra * ratio, rtol=1e-6)
    assert values.max() <= bound.largest * (1 + 1e-6)


@pytest.mark.parametrize("unseen", [0, 1, 2])
def test_a_ratio_with_an_unseen_class_counts_as_nought(unseen):
    """Of classes 0 (head) and 1, 2 (tail), class 2 being the rarest."""
    seen = torch.arange(3) != unseen
    statistics = ClassStatistics(torch.tensor([0.8, 0.4, 0.2]) * seen, seen)
    values = ConfidenceRatioBound([9, 4, 1], 0.1, extra=1.0)(
        statistics, torch.tensor([-1.0, 1.0, 1.0])
    )
    expected = {0: [0.1, 0.6, 1.1], 1: [1.1, 0.1, 1.1], 2: [1.1, 0.1, 0.1]}
    assert values.tolist() == pytest.approx(expected[unseen])
