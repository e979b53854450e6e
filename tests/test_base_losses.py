"""Focal loss and class-balanced weights against short references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lpl_lib.base_losses import FocalLoss, class_balanced_weights

LOGITS = torch.randn(
    64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64
).mul_(3)
TARGETS = torch.arange(64) % 5


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5, 3.0, 1.5]])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_is_its_formula(gamma, weight):
    u = LOGITS.numpy()
    p = np.exp(u - u.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True))[np.arange(64), TARGETS.numpy()]
    own = None if weight is None else np.array(weight)[TARGETS.numpy()]
    expected = np.average(-((1 - p) ** gamma) * np.log(p), weights=own)
    focal = FocalLoss(gamma, None if weight is None else torch.tensor(weight))
    assert focal(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-12)


def test_focal_without_gamma_is_cross_entropy():
    assert FocalLoss(0)(LOGITS, TARGETS) == F.cross_entropy(LOGITS, TARGETS)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_focal_has_a_finite_gradient_everywhere(gamma, scale):
    logits = (LOGITS.float() * scale).requires_grad_()
    FocalLoss(gamma)(logits, TARGETS).backward()
    assert logits.grad.isfinite().all()


def test_weights_are_the_formula_with_mean_one():
    counts, beta = np.array([100, 10, 1]), 0.99
    raw = (1 - beta) / (1 - beta**counts)
    expected = torch.tensor(raw * 3 / raw.sum()).float()
    weights = class_balanced_weights([100, 10, 1], beta)
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=0)


def test_weights_go_from_equal_to_inverse_frequency():
    assert class_balanced_weights([9, 3], 0).tolist() == [1, 1]
    nearly = class_balanced_weights([9, 3], 1 - 1e-9)
    torch.testing.assert_close(nearly[1] / nearly[0], torch.tensor(3.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_beta_out_of_range(beta):
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\), got"):
        class_balanced_weights([3, 2], beta)


def test_gamma_out_of_range():
    with pytest.raises(ValueError, match="gamma must be a finite number >= 0, got -1"):
        FocalLoss(-1)


def test_focal_loss_refuses_probabilities():
    with pytest.raises(ValueError, match="targets must be integer labels"):
        FocalLoss()(torch.zeros(1, 2), torch.tensor([[0.7, 0.3]]))
