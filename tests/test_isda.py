"""ISDA: running covariances against numpy, the formula, and what it bounds from above."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import NUM_FEATURES, random_batch
from hypothesis import given
from hypothesis import strategies as st
from reference import isda_delta

from lpl_lib import ISDA, PerturbedLoss

both_kinds = pytest.mark.parametrize("covariance", ["full", "diagonal"])


def expected_spread(features: np.ndarray, covariance: str) -> np.ndarray:
    """The population covariance of these rows."""
    full = np.cov(features.T, bias=True)
    return full if covariance == "full" else np.diag(full)


@both_kinds
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    seed=st.integers(0, 999),
    offset=st.sampled_from([0.0, 30.0]),
)
def test_running_covariance_is_that_of_all_features(covariance, sizes, seed, offset):
    rng, isda = np.random.default_rng(seed), ISDA(3, 4, covariance=covariance)
    targets = [rng.integers(0, 2, size) for size in sizes]  # class 2 never comes
    features = [rng.normal(size=(size, 4)) * [1, 2, 3, 4] + offset for size in sizes]
    weight = torch.zeros(3, 4)
    for x, y in zip(features, targets, strict=True):
        isda(torch.zeros(len(y), 3), torch.tensor(y), torch.tensor(x), weight)
    x, y = np.concatenate(features), np.concatenate(targets)
    assert isda.count.tolist() == np.bincount(y, minlength=3).tolist()
    for c in np.unique(y):
        np.testing.assert_allclose(isda.mean[c], x[y == c].mean(0), rtol=1e-5, atol=1e-5)
        spread = expected_spread(x[y == c], covariance)
        np.testing.assert_allclose(isda.spread[c], spread, rtol=1e-4, atol=2e-4)
    assert not isda.spread[2].any()


@both_kinds
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_delta_against_numpy(covariance, strength):
    logits, targets, features, weight = random_batch([0, 0, 3, 0, 3, 1, 3], 5)
    isda = ISDA(5, NUM_FEATURES, strength, covariance)
    delta = isda(logits, targets, features, weight)
    y, h, w = targets.numpy(), features.numpy(), weight.numpy()
    expected = isda_delta(y, h, w, strength, diagonal=covariance == "diagonal")
    np.testing.assert_allclose(delta, expected, rtol=1e-4, atol=1e-5)
    assert (delta >= 0).all()
    assert not delta.gather(1, targets[:, None]).any()


def test_evaluation_mode_keeps_the_covariance_and_still_perturbs():
    batch = random_batch([0, 0, 1, 1], 2)
    isda = ISDA(2, NUM_FEATURES)
    delta = isda(*batch)
    kept = {name: value.clone() for name, value in isda.state_dict().items()}
    isda.eval()
    shifted = batch._replace(features=batch.features + 5)
    assert torch.equal(isda(*shifted), delta)
    assert all(torch.equal(kept[name], value) for name, value in isda.state_dict().items())


@both_kinds
def test_state_dict_round_trip(covariance):
    batch, isda = (
        random_batch([0, 0, 1, 1], 2),
        ISDA(2, NUM_FEATURES, covariance=covariance),
    )
    delta = isda(*batch)
    twin = ISDA(2, NUM_FEATURES, covariance=covariance)
    twin.load_state_dict(isda.state_dict())
    assert torch.equal(twin.eval()(*batch), delta)


def test_gradient_reaches_the_head_but_not_the_features_through_delta():
    logits, targets, features, weight = random_batch([0, 0, 1, 1], 2)
    weight.requires_grad_()
    features.requires_grad_()
    PerturbedLoss(ISDA(2, NUM_FEATURES))(logits, targets, features, weight).backward()
    assert weight.grad.abs().max() > 1e-3
    assert features.grad is None


def test_strength_can_be_raised_during_training():
    batch, isda = random_batch([0, 0, 1, 1], 2), ISDA(2, NUM_FEATURES, strength=0.25)
    delta = isda(*batch)
    isda.eval().strength = 0.5
    torch.testing.assert_close(isda(*batch), 2 * delta)


def test_autocast_does_not_lower_the_precision():
    batch = random_batch([0, 0, 1, 1, 1], 2, dtype=torch.float32)
    expected = ISDA(2, NUM_FEATURES)(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        delta = ISDA(2, NUM_FEATURES)(*batch)
    assert torch.equal(delta, expected)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_isda_is_the_entropic_risk_of_gaussian_features(strength):
    """With ``xi ~ N(0, strength Sigma_y)``: at strength 1 the loss is
    ``log E exp l(h + xi)``, by Gauss-Hermite quadrature in two dimensions; the mean loss
    ``E l(h + xi)`` is below it at any strength."""
    _, targets, features, weight = random_batch([0, 0, 0, 1, 1, 1], 3)
    features, weight = 0.7 * features[:, :2], weight[:, :2]
    isda = ISDA(3, 2, strength)
    delta = isda(features @ weight.T, targets, features, weight)
    isda_loss = F.cross_entropy(features @ weight.T + delta, targets, reduction="none")

    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    grid = torch.tensor(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    mass = torch.tensor(np.outer(shares, shares).ravel() / shares.sum() ** 2)
    for i, y in enumerate(targets):
        root = torch.linalg.cholesky(strength * isda.spread[y].double())
        logits = (features[i] + grid @ root.T) @ weight.T
        losses = F.cross_entropy(logits, y.expand(len(grid)), reduction="none")
        entropic = (mass * losses.exp()).sum().log()
        assert isda_loss[i].item() == pytest.approx(entropic.item(), rel=1e-5)
        assert (mass * losses).sum() < isda_loss[i]


def test_features_that_are_not_finite_leave_the_statistics_alone():
    """In half precision a step may overflow and be left out; the next must go on."""
    isda, clean = ISDA(3, 2), ISDA(3, 2)
    features = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    clean.update(features[1:], targets[1:])
    isda.update(features.index_fill(0, torch.tensor(0), torch.nan), targets)
    for name, value in isda.state_dict().items():
        assert torch.equal(value, clean.state_dict()[name])
