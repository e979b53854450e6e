"""Mean confidence per class: of a batch, and as a running mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import batches, random_batch, small_batch
from hypothesis import given
from reference import softmax

from lpl_lib.lpl import ClassConfidence


def class_means(u: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Mean of ``p_c`` over the samples of ``c``; NaN where there is none."""
    own = np.array([softmax(row)[label] for row, label in zip(u, y, strict=True)])
    return np.array(
        [own[y == c].mean() if (y == c).any() else np.nan for c in range(num_classes)]
    )


@given(batches())
def test_the_mean_of_a_batch_against_numpy(batch):
    num_classes = batch.logits.shape[1]
    confidence, seen, _ = ClassConfidence(num_classes)(batch.logits, batch.targets)
    expected = class_means(batch.logits.numpy(), batch.targets.numpy(), num_classes)
    assert (seen.numpy() == ~np.isnan(expected)).all()
    np.testing.assert_allclose(confidence[seen], expected[~np.isnan(expected)], rtol=1e-5)


def test_the_mean_over_classes_leaves_absent_ones_out():
    u, y = random_batch([0, 3, 3], 6)[:2]
    statistics = ClassConfidence(6)(u, y)
    expected = np.nanmean(class_means(u.numpy(), y.numpy(), 6))
    assert float(statistics.tau) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_running_mean_against_numpy(decay):
    """A class starts at its first mean and stays as it was in batches without it."""
    running, expected = ClassConfidence(5, decay), np.full(5, np.nan)
    for seed in range(12):
        u, y = small_batch(5, 4, seed)[:2]
        now = class_means(u.numpy(), y.numpy(), 5)
        for c in np.flatnonzero(~np.isnan(now)):
            first = np.isnan(expected[c])
            expected[c] = now[c] if first else decay * expected[c] + (1 - decay) * now[c]
        confidence, seen, _ = running(u, y)
        assert (seen.numpy() == ~np.isnan(expected)).all()
        np.testing.assert_allclose(confidence[seen], expected[seen.numpy()], rtol=1e-5)


def test_the_running_mean_is_frozen_in_evaluation_mode():
    running = ClassConfidence(3, decay=0.9)
    running(*random_batch([0, 1], 3)[:2])
    kept = [
        part.clone() for part in running.eval()(*random_batch([2, 2], 3, seed=1)[:2])[:2]
    ]
    assert kept[1].tolist() == [True, True, False]
    assert torch.equal(running.confidence, kept[0])


def test_the_running_mean_lives_in_the_state_dict():
    running, twin = ClassConfidence(3, decay=0.9), ClassConfidence(3, decay=0.9)
    running(*random_batch([0, 1], 3)[:2])
    twin.load_state_dict(running.state_dict())
    later = random_batch([0, 2], 3, seed=1)[:2]
    assert all(
        torch.equal(*pair)
        for pair in zip(running(*later)[:2], twin(*later)[:2], strict=True)
    )
    assert not ClassConfidence(3).state_dict()


def test_confidence_keeps_no_graph():
    u, y = random_batch([0, 1], 3)[:2]
    for decay in (None, 0.9):
        assert not ClassConfidence(3, decay)(u.requires_grad_(), y).confidence.requires_grad


def test_a_state_dict_of_other_classes_is_refused_with_both_numbers():
    with pytest.raises(RuntimeError, match=r"Size\(\[5\]\).*Size\(\[3\]\)"):
        ClassConfidence(3, 0.9).load_state_dict(ClassConfidence(5, 0.9).state_dict())


def test_logits_that_are_not_finite_leave_the_running_mean_alone():
    confidence = ClassConfidence(2, decay=0.9)
    good = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    before = confidence(good, torch.tensor([0, 1]))
    bad = torch.tensor([[torch.nan, 0.0], [0.0, 2.0]])
    after = confidence(bad, torch.tensor([0, 1]))
    assert after.confidence[0] == before.confidence[0]
    assert after.confidence[1] > before.confidence[1]


def test_statistics_can_be_kept():
    """What was returned does not change with the next batch."""
    confidence = ClassConfidence(2, decay=0.5)
    first = confidence(torch.zeros(1, 2), torch.tensor([0]))
    confidence(torch.tensor([[9.0, 0.0]]), torch.tensor([0]))
    assert first.confidence.tolist() == [0.5, 0.0]
