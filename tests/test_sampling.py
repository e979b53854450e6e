"""Class-aware sampling: one endless draw, over passes and processes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpl_lib.lab.rebalancing import ClassAwareSampler

COUNTS = (40, 13, 5, 1)


def targets(counts=COUNTS, size: int = 60) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    table = torch.zeros(size, len(counts))
    for label, count in enumerate(counts):
        table[torch.randperm(size, generator=draw)[:count], label] = 1
    return table


def passes(sampler: ClassAwareSampler, number: int) -> list[list[int]]:
    return [list(sampler) for _ in range(number)]


def by_cycles(table: torch.Tensor, draws: int, per_label: int, seed: int) -> list[int]:
    """As the authors': cycles that are shuffled when they begin anew, written out."""
    order = torch.Generator().manual_seed(seed)
    lists = [column.nonzero()[:, 0] for column in table.T if column.any()]
    lists = [torch.arange(len(lists)), *lists]
    left: list[list[int]] = [[] for _ in lists]

    def take(which: int) -> int:
        if not left[which]:
            shuffled = torch.randperm(len(lists[which]), generator=order)
            left[which] = lists[which][shuffled].tolist()
        return left[which].pop(0)

    drawn: list[int] = []
    while len(drawn) < draws:
        label = take(0)
        drawn += [take(1 + label) for _ in range(per_label)]
    return drawn[:draws]


@given(st.integers(1, 90), st.integers(1, 5), st.integers(0, 9), st.integers(1, 4))
def test_passes_go_on_from_each_other(length, per_label, seed, number):
    """Fault 15: each pass began anew, so that an epoch's end cut the same images off."""
    sampler = ClassAwareSampler(targets(), per_label, length, seed)
    found = list(itertools.chain(*passes(sampler, number)))
    assert found == by_cycles(targets(), number * length, per_label, seed)


def test_each_image_comes_once_before_any_comes_again():
    """Fault 15: 10 of 1,142 images of VOC-MLT were never drawn in 8 passes."""
    table = torch.ones(200, 1)
    sampler = ClassAwareSampler(table, length=50)
    assert sorted(itertools.chain(*passes(sampler, 4))) == list(range(200))
    drawn = np.bincount(list(itertools.chain(*passes(sampler, 8))), minlength=200)
    assert (drawn == 2).all()


@given(st.integers(1, 50), st.integers(1, 4))
def test_processes_share_the_draw(length, world):
    """Fault 15: all ranks drew the same images."""
    whole = ClassAwareSampler(targets(), length=-(-length // world) * world)
    ranks = [
        ClassAwareSampler(targets(), length=length, num_replicas=world, rank=rank)
        for rank in range(world)
    ]
    assert {len(sampler) for sampler in ranks} == {-(-length // world)}
    for _ in range(3):
        parts = [list(sampler) for sampler in ranks]
        assert list(itertools.chain(*zip(*parts, strict=True))) == list(whole)


def test_a_training_that_goes_on_sees_what_it_would_have_seen():
    """Fault 15: there was no `set_epoch`. Forwards, backwards, and without it."""
    known = passes(ClassAwareSampler(targets(), length=17), 6)
    sampler = ClassAwareSampler(targets(), length=17)
    for epoch in (4, 5, 1, 0, 3):
        sampler.set_epoch(epoch)
        assert list(sampler) == known[epoch]
    assert list(sampler) == known[4]


def test_a_pass_that_is_left_early_does_not_shift_the_next():
    """Fault 15, a sibling: a loop that breaks off."""
    known = passes(ClassAwareSampler(targets(), length=17), 2)
    sampler = ClassAwareSampler(targets(), length=17)
    next(iter(sampler))
    assert list(sampler) == known[1]


@pytest.mark.parametrize(("num_replicas", "rank"), [(2, 2), (2, -1), (0, 0)])
def test_a_rank_that_is_none_is_refused(num_replicas, rank):
    with pytest.raises(ValueError, match="rank"):
        ClassAwareSampler(targets(), num_replicas=num_replicas, rank=rank)


def test_a_loader_knows_it_as_shared_out():
    """Frameworks share a sampler out among processes unless it does so itself."""
    data = torch.utils.data.TensorDataset(targets())
    sampler = ClassAwareSampler(targets(), length=12)
    loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=sampler)
    assert isinstance(loader.sampler, torch.utils.data.DistributedSampler)
    assert [len(batch) for (batch,) in loader] == [4, 4, 4]
