"""Digits, and long-tailed subsets with the counts and the draw of the CIFAR protocol."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from lpl_lib.lab.data import (
    LabelledImages,
    checksum,
    cifar,
    data_folder,
    digits,
    hold_out,
    long_tail_counts,
    long_tail_indices,
)
from lpl_lib.metrics import frequency_groups


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
    chosen = long_tail_indices(labels, 9, max_count=90)
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


# --- splits and checksums ------------------------------------------------------------


@given(st.floats(0.05, 0.95), st.lists(st.integers(2, 30), min_size=1, max_size=6))
def test_each_class_is_split_by_its_share(share, sizes):
    targets = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    kept, held = hold_out(targets, share)
    joined = torch.cat([kept, held]).sort().values
    assert joined.tolist() == list(range(sum(sizes)))
    for c, size in enumerate(sizes):
        part = int((targets[held] == c).sum())
        assert 1 <= part <= size - 1
        assert abs(part - share * size) <= 1


def test_the_seed_decides_what_is_held_out():
    targets = shuffled_labels()
    parts = [hold_out(targets, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize("share", [0, 1, float("nan")])
def test_a_share_that_leaves_a_part_empty(share):
    with pytest.raises(ValueError, match="share must lie between 0 and 1, got"):
        hold_out(shuffled_labels(), share)


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(ValueError, match=r"at least two images .* but class 1, 3 has one"):
        hold_out(torch.tensor([0, 0, 1, 3]), 0.5)


def test_a_checksum_follows_pixels_labels_and_order():
    data = LabelledImages(
        torch.arange(16.0).reshape(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    )
    other = LabelledImages(data.images.clone(), data.targets.clone())
    assert checksum(other) == checksum(data)
    other.images[3, 0, 1, 1] += 1
    relabelled = LabelledImages(data.images, 1 - data.targets)
    reordered = data.subset(torch.tensor([1, 0, 2, 3]))
    sums = {checksum(part) for part in (data, other, relabelled, reordered)}
    assert len(sums) == 4


# --- sets by name --------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The folder that LPL_DATA names."""
    monkeypatch.setenv("LPL_DATA", str(tmp_path))
    return tmp_path


def write_cifar(shelf, monkeypatch):
    """Batches in the layout of CIFAR-10, of ten images each."""
    from torchvision.datasets import CIFAR10

    folder = shelf / CIFAR10.base_folder
    folder.mkdir()
    for number, (name, _) in enumerate(CIFAR10.train_list + CIFAR10.test_list):
        rows = np.full((10, 3072), number, np.uint8)
        rows[:, 0] = 200  # the red of the first pixel
        batch = {"data": rows, "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": [f"thing {c}" for c in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    for where in ("train_list", "test_list"):
        files = [(name, None) for name, _ in getattr(CIFAR10, where)]
        monkeypatch.setattr(CIFAR10, where, files)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})


def test_cifar_is_read_as_bytes_from_the_folder_that_is_named(shelf, monkeypatch, capsys):
    write_cifar(shelf, monkeypatch)
    train, test, names = cifar("cifar10")
    assert data_folder() == shelf
    assert train.images.shape == (50, 3, 32, 32)
    assert test.images.shape == (10, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert train.images[0, :, 0, 0].tolist() == [200, 0, 0]
    assert train.images[0, 0, 0, :2].tolist() == [200, 0]
    assert test.images[0, 2, 5, 5] == 5
    assert names[3] == "thing 3"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [None, b"", b"half an archive"])
def test_a_missing_or_broken_archive_without_a_network(shelf, monkeypatch, content):
    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    if content is not None:
        (shelf / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(RuntimeError, match="no intact copy of CIFAR10") as caught:
        cifar("cifar10")
    text = str(caught.value)
    for help_ in ("no route to host", "https://", "cifar-10-python.tar.gz", "LPL_DATA"):
        assert help_ in text


def test_an_archive_that_unpacks_to_damaged_batches(shelf, monkeypatch):
    write_cifar(shelf, monkeypatch)
    batch = shelf / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match="no intact copy of CIFAR10"):
        cifar("cifar10")


def test_an_unknown_cifar():
    with pytest.raises(ValueError, match=r"one of \['cifar10', 'cifar100'\], got 'cifar'"):
        cifar("cifar")


def test_without_the_variable_data_lie_beside_you(monkeypatch, tmp_path):
    monkeypatch.delenv("LPL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert data_folder() == tmp_path / "data"


def test_class_folders_that_do_not_hold_cifar_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "cifar10" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(folder / "0.png")
    monkeypatch.setenv("LPL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"original images: .* \[\(32, 32, 1\)\]"):
        cifar("cifar10")
