"""Average precision and F1 against scikit-learn, with and without missing positives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from lpl_lib.lab.label_metrics import average_precision, f1_scores, tuned_thresholds

K = 6


def scored(seed: int, size: int = 40, *, ties: bool = False, missing: int = 0):
    """Random logits and labels; the last ``missing`` labels have no positive."""
    draw = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(size, K, generator=draw)
    if ties:
        logits = logits.round()
    targets = (torch.rand(size, K, generator=draw) < 0.25).int()
    targets[0] = 1
    targets[:, K - missing :] = 0
    return logits, targets


@given(st.integers(0, 10_000), st.booleans(), st.integers(0, 3), st.integers(1, 60))
def test_average_precision_is_scikit_learns(seed, ties, missing, size):
    logits, targets = scored(seed, size, ties=ties, missing=missing)
    found = average_precision(logits, targets)
    for k in range(K - missing):
        expected = average_precision_score(targets[:, k].numpy(), logits[:, k].numpy())
        assert found[k].item() == pytest.approx(expected, abs=1e-6)
    assert found[K - missing :].isnan().all()


def test_large_logits_are_no_ties():
    """A sigmoid would make them so, in float32."""
    logits = torch.tensor([[30.0], [40.0], [50.0]])
    assert average_precision(logits, torch.tensor([[0], [0], [1]])).item() == 1.0


@given(st.integers(0, 10_000))
def test_a_shift_of_a_label_changes_no_average_precision(seed):
    logits, targets = scored(seed)
    moved = logits + torch.linspace(-3, 3, K)
    torch.testing.assert_close(
        average_precision(moved, targets), average_precision(logits, targets)
    )


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.5]))
def test_f1_is_scikit_learns(seed, threshold):
    logits, targets = scored(seed)
    predicted = (logits > threshold).int().numpy()
    found = f1_scores(logits, targets, threshold)
    for average in ("micro", "macro"):
        expected = f1_score(targets.numpy(), predicted, average=average, zero_division=0)
        assert found[average] == pytest.approx(expected, abs=1e-6)


def test_macro_f1_leaves_absent_labels_out():
    logits, targets = scored(1, missing=2)
    found = f1_scores(logits, targets)["macro"]
    expected = f1_scores(logits[:, :4], targets[:, :4])["macro"]
    assert found == pytest.approx(expected)
    assert math.isnan(f1_scores(logits, torch.zeros_like(targets))["macro"])


@settings(max_examples=5)
@given(st.integers(0, 10_000), st.booleans())
def test_tuned_thresholds_are_the_best(seed, ties):
    logits, targets = scored(seed, 25, ties=ties, missing=1)
    thresholds = tuned_thresholds(logits, targets)
    for k in range(K - 1):
        truth = targets[:, k].numpy()
        reached = f1_score(truth, (logits[:, k] > thresholds[k]).int().numpy())
        tried = [*(logits[:, k] - 1e-4).tolist(), logits[:, k].max().item()]
        best = max(
            f1_score(truth, (logits[:, k] > t).int().numpy(), zero_division=0)
            for t in tried
        )
        assert reached == pytest.approx(best, abs=1e-9)
    assert thresholds[K - 1] == 0


def test_thresholds_follow_a_shift():
    logits, targets = scored(2)
    moved = tuned_thresholds(logits + 2.5, targets)
    torch.testing.assert_close(moved, tuned_thresholds(logits, targets) + 2.5)


@pytest.mark.parametrize("metric", [average_precision, f1_scores, tuned_thresholds])
def test_bad_input_is_refused(metric):
    logits, targets = scored(0)
    with pytest.raises(ValueError, match="targets must have shape"):
        metric(logits, targets[:, 0])
    with pytest.raises(ValueError, match="targets must be 0 or 1"):
        metric(logits, 2 * targets)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_thresholds_lie_between_scores_of_half_precision(dtype):
    top = torch.tensor(3.0, dtype=dtype)
    above = top.nextafter(torch.tensor(9.0, dtype=dtype))
    logits = torch.stack([above, top, torch.zeros((), dtype=dtype)])[:, None]
    threshold = tuned_thresholds(logits, torch.tensor([[1], [0], [0]]))
    assert float(top) < threshold.item() < float(above)
