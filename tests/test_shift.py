"""Calibration, other test priors and label noise, against formulas and other libraries."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from lpl_lib.lab.data import flip_labels, signal_share
from lpl_lib.lab.shift import (
    accuracy_under,
    calibration_error,
    fit_temperature,
    long_tail_prior,
)

DRAW = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(400, 5, generator=DRAW)
TARGETS = torch.multinomial(LOGITS.softmax(1), 1, generator=DRAW)[:, 0]


def test_the_calibration_error_is_that_of_torchmetrics():
    for bins in (1, 7, 15):
        theirs = multiclass_calibration_error(LOGITS.softmax(1), TARGETS, 5, n_bins=bins)
        assert calibration_error(LOGITS, TARGETS, bins) == pytest.approx(
            float(theirs), abs=1e-6
        )


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_a_factor(factor):
    plain, scaled = (fit_temperature(u, TARGETS) for u in (LOGITS, factor * LOGITS))
    assert scaled == pytest.approx(factor * plain, rel=1e-3)
    best = F.cross_entropy(LOGITS / plain, TARGETS)
    for other in (0.98, 1.02):
        assert F.cross_entropy(LOGITS / (other * plain), TARGETS) > best


def test_accuracy_under_a_prior_weighs_the_classes():
    right = LOGITS.argmax(1) == TARGETS
    shares = torch.stack([right[c == TARGETS].double().mean() for c in range(5)])
    prior = long_tail_prior(5, 10.0)
    assert float(prior.sum()) == pytest.approx(1)
    assert float(prior[0] / prior[-1]) == pytest.approx(10)
    expected = float((prior * shares).sum())
    assert accuracy_under(LOGITS, TARGETS, prior) == pytest.approx(expected)
    with pytest.raises(ValueError, match="prior must have shape"):
        accuracy_under(LOGITS, TARGETS, prior[:4])


def test_labels_are_flipped_evenly_and_nested():
    clean = torch.zeros(20_000, dtype=torch.int64)
    some, more = (flip_labels(clean, 5, rate) for rate in (0.2, 0.4))
    assert (torch.bincount(some) / 20_000).tolist() == pytest.approx(
        [0.8] + [0.05] * 4, abs=0.01
    )
    flipped = some != 0
    assert torch.equal(more[flipped], some[flipped])
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\), got 1"):
        flip_labels(clean, 5, 1.0)


def test_the_signal_that_noise_leaves_is_that_of_bayes():
    counts = torch.tensor([60.0, 30.0, 10.0])
    prior = (counts / counts.sum()).double()
    flips = torch.full((3, 3), 0.15, dtype=torch.float64).fill_diagonal_(0.7)
    p = torch.rand(50, 3, generator=DRAW, dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    share = signal_share(counts, 0.3)
    torch.testing.assert_close((p @ flips) / (prior @ flips), share * p / prior + 1 - share)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
def test_rare_classes_keep_less(rate):
    share = signal_share([60, 30, 10], rate)
    assert (share.diff() < 0).all()
    assert ((share > 0) & (share < 1)).all()
    assert signal_share([60, 30, 10], 0.0).tolist() == [1, 1, 1]
