"""Sums and means over the samples of a class, against plain loops."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lpl_lib.lpl.groups import ClassGroups

labels = st.lists(st.integers(0, 7), min_size=1, max_size=15)


def members(targets: list[int], i: int) -> list[int]:
    """The samples of sample ``i``'s class."""
    return [j for j, label in enumerate(targets) if label == targets[i]]


@given(labels)
def test_a_table_has_a_row_a_class_and_never_more_rows_than_samples(targets):
    groups = ClassGroups(torch.tensor(targets), 8)
    assert len(groups.classes) == min(len(targets), 8)
    assert groups.classes[groups.row].tolist() == targets
    assert groups.expand(groups.classes[:, None])[:, 0].tolist() == targets


@given(labels, st.integers(0, 999))
def test_sum_and_mean_against_loops(targets, seed):
    groups = ClassGroups(torch.tensor(targets), 8)
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(len(targets), 3, generator=draw, dtype=torch.float64)
    for i in range(len(targets)):
        rows = values[members(targets, i)]
        torch.testing.assert_close(groups.expand(groups.sum(values))[i], rows.sum(0))
        torch.testing.assert_close(groups.expand(groups.mean(values))[i], rows.mean(0))


@given(labels)
def test_what_a_class_shares_is_read_off_any_sample(targets):
    groups = ClassGroups(torch.tensor(targets), 8)
    shared = torch.tensor(targets, dtype=torch.float32)[:, None] / 7
    assert torch.equal(groups.expand(groups.common(shared)), shared)
