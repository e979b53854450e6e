"""Digits, and long-tailed subsets with the counts and the draw of the CIFAR protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from lpl_lib import (
    LabelledImages,
    digits,
    frequency_groups,
    image_folder,
    long_tail_counts,
    long_tail_indices,
)


@pytest.mark.parametrize(
    ("max_count", "num_classes", "ratio", "total"),
    [
        (5000, 10, 200, 11203),
        (5000, 10, 100, 12406),
        (5000, 10, 50, 13996),
        (5000, 10, 10, 20431),
        (500, 100, 200, 9502),
        (500, 100, 100, 10847),
        (500, 100, 50, 12608),
        (500, 100, 10, 19573),
    ],
)
def test_the_published_totals_of_long_tail_cifar(max_count, num_classes, ratio, total):
    assert sum(long_tail_counts(max_count, num_classes, ratio)) == total


def test_the_published_counts_of_long_tail_cifar_10():
    expected = [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]
    assert long_tail_counts(5000, 10, 50) == expected


@pytest.mark.parametrize(("ratio", "sizes"), [(100, (35, 35, 30)), (10, (69, 31, 0))])
def test_many_medium_and_few_of_long_tail_cifar_100(ratio, sizes):
    groups = frequency_groups(long_tail_counts(500, 100, ratio))
    assert tuple(len(groups[name]) for name in ("head", "medium", "tail")) == sizes


@given(st.integers(1, 5000), st.integers(1, 50), st.floats(1, 300))
def test_counts_fall_from_the_head_to_the_tail(max_count, num_classes, ratio):
    assume(max_count >= ratio)
    counts = long_tail_counts(max_count, num_classes, ratio)
    assert len(counts) == num_classes
    assert counts[0] == max_count
    assert counts == sorted(counts, reverse=True)
    assert num_classes == 1 or counts[-1] in (
        int(max_count / ratio),
        round(max_count / ratio),
    )


@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_smallest_class_is_the_largest_over_the_ratio_despite_rounding(num_classes):
    """49 * (1 / 49) is below 1 in binary; the class has an image all the same."""
    wrong = [
        ratio
        for ratio in range(1, 301)
        for smallest in (1, 7)
        if long_tail_counts(smallest * ratio, num_classes, ratio)[-1] != smallest
    ]
    assert wrong == []


def test_a_ratio_of_one_takes_all_classes_alike():
    assert long_tail_counts(30, 4, 1) == [30] * 4
    assert long_tail_counts(30, 1, 1) == [30]


def shuffled_labels(per_class: int = 60, num_classes: int = 6) -> torch.Tensor:
    """Balanced labels in random order."""
    labels = torch.arange(per_class * num_classes) % num_classes
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def test_the_subset_has_the_counts_without_replacement_and_sorted():
    labels = shuffled_labels()
    chosen = long_tail_indices(labels, 20)
    assert torch.bincount(labels[chosen]).tolist() == long_tail_counts(60, 6, 20)
    assert (chosen.diff() > 0).all()
    assert chosen.dtype == torch.int64


def test_the_draw_is_that_of_the_protocol():
    """One numpy generator shuffles the indices of each class in turn."""
    labels, rng, expected = shuffled_labels(), np.random.RandomState(7), []
    for c, size in enumerate(long_tail_counts(60, 6, 20)):
        indices = np.where(labels.numpy() == c)[0]
        rng.shuffle(indices)
        expected.extend(indices[:size])
    assert long_tail_indices(labels, 20, seed=7).tolist() == sorted(expected)


def test_the_seed_decides_the_draw():
    labels = shuffled_labels()
    draws = [long_tail_indices(labels, 20, seed=seed).tolist() for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_the_draw_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    long_tail_indices(shuffled_labels(), 20)
    digits()
    assert (torch.rand(1), np.random.rand()) == expected


def test_an_unbalanced_set_gives_what_its_smallest_class_can():
    labels = torch.tensor([0] * 90 + [1] * 50 + [2] * 40)
    counts = torch.bincount(labels[long_tail_indices(labels, 4)])
    assert counts.tolist() == long_tail_counts(40, 3, 4)


def test_max_count_may_exceed_what_later_classes_have():
    labels = torch.tensor([0] * 90 + [1] * 50 + [2] * 40)
    chosen = long_tail_indices(labels, 9, num_classes=3, max_count=90)
    assert torch.bincount(labels[chosen]).tolist() == [90, 30, 10]


def test_digits_are_the_whole_set_split_in_two():
    train, test = digits()
    assert train.images.shape == (1198, 1, 8, 8)
    assert test.images.shape == (599, 1, 8, 8)
    everything = torch.cat([train.images, test.images])
    assert len(everything.flatten(1).unique(dim=0)) == 1797  # no image stands in both
    assert everything.dtype == torch.float32
    assert everything.min() == 0
    assert everything.max() == 1
    assert train.targets.dtype == torch.int64


def test_digits_keep_the_shares_of_the_classes_and_follow_the_seed():
    train, test = digits(test_share=0.25, seed=3)
    share = test.class_counts(10) / (train.class_counts(10) + test.class_counts(10))
    assert (share - 0.25).abs().max() < 0.01
    assert torch.equal(digits(0.25, seed=3)[0].images, train.images)
    assert not torch.equal(digits(0.25, seed=4)[0].images, train.images)


def test_subset_and_class_counts():
    data = LabelledImages(torch.arange(4.0).reshape(4, 1, 1, 1), torch.tensor([2, 0, 2, 1]))
    part = data.subset(torch.tensor([0, 2]))
    assert part.images.flatten().tolist() == [0, 2]
    assert part.class_counts(4).tolist() == [0, 0, 2, 0]


def write_images(folder, sizes):
    """A tree of one grey image a class, lighter from class to class."""
    for number, size in enumerate(sizes):
        place = folder / f"class-{number}"
        place.mkdir(parents=True)
        Image.new("RGB", size, (number * 51,) * 3).save(place / "one.png")


def test_a_folder_of_images(tmp_path):
    write_images(tmp_path, [(6, 4)] * 3)
    images, targets = image_folder(tmp_path)
    assert images.shape == (3, 3, 4, 6)
    assert targets.tolist() == [0, 1, 2]
    assert images.mean((1, 2, 3)).tolist() == pytest.approx([0, 0.2, 0.4])


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder must have one subfolder a class"):
        image_folder(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="class"):
        image_folder(tmp_path)  # no class in it
    write_images(tmp_path, [(6, 4), (5, 4)])
    with pytest.raises(ValueError, match=r"one size, got 2 sizes .* \(4, 5\) to \(4, 6\)"):
        image_folder(tmp_path)
    (tmp_path / "class-2").mkdir()
    with pytest.raises(FileNotFoundError, match="class-2"):
        image_folder(tmp_path)
