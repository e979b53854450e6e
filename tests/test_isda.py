"""ISDA: running covariances against numpy, the formula, and what it bounds from above."""

from __future__ import annotations

import copy
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import Batch, linear, random_batch
from hypothesis import given
from hypothesis import strategies as st
from reference import isda_delta
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lpl_lib import ISDA, PerturbedLoss

both_kinds = pytest.mark.parametrize("covariance", ["full", "diagonal"])


def feed(isda: ISDA, head: torch.nn.Linear, batch: Batch) -> torch.Tensor:
    """The delta of a batch that the head has seen."""
    head(batch.features)
    return isda(*batch[:2]).detach()


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
    rng, head = np.random.default_rng(seed), linear(torch.zeros(3, 4).double())
    isda = ISDA(head, covariance=covariance)
    targets = [rng.integers(0, 2, size) for size in sizes]  # class 2 never comes
    features = [rng.normal(size=(size, 4)) * [1, 2, 3, 4] + offset for size in sizes]
    for x, y in zip(features, targets, strict=True):
        isda(head(torch.tensor(x)), torch.tensor(y))
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
    head = linear(weight)
    isda = ISDA(head, strength, covariance)
    delta = feed(isda, head, Batch(logits, targets, features, weight))
    y, h, w = targets.numpy(), features.numpy(), weight.numpy()
    expected = isda_delta(y, h, w, strength, diagonal=covariance == "diagonal")
    np.testing.assert_allclose(delta, expected, rtol=1e-4, atol=1e-5)
    assert (delta >= 0).all()
    assert not delta.gather(1, targets[:, None]).any()


def test_evaluation_mode_keeps_the_covariance_and_still_perturbs():
    batch = random_batch([0, 0, 1, 1], 2)
    head = batch.head()
    isda = ISDA(head)
    delta = feed(isda, head, batch)
    kept = {name: value.clone() for name, value in isda.state_dict().items()}
    isda.eval()
    shifted = batch._replace(features=batch.features + 5)
    assert torch.equal(feed(isda, head, shifted), delta)
    assert all(torch.equal(kept[name], value) for name, value in isda.state_dict().items())


@both_kinds
def test_state_dict_round_trip(covariance):
    batch = random_batch([0, 0, 1, 1], 2)
    head = batch.head()
    isda, twin = ISDA(head, covariance=covariance), ISDA(head, covariance=covariance)
    delta = feed(isda, head, batch)
    twin.load_state_dict(isda.state_dict())
    assert torch.equal(feed(twin.eval(), head, batch), delta)


def test_gradient_reaches_the_head_but_not_the_features_through_delta():
    logits, targets, features, weight = random_batch([0, 0, 1, 1], 2)
    features.requires_grad_()
    head = linear(weight)
    criterion = PerturbedLoss(ISDA(head))
    head(features)
    criterion(logits, targets).backward()
    assert head.weight.grad.abs().max() > 1e-3
    assert features.grad is None


def test_strength_can_be_raised_during_training():
    batch = random_batch([0, 0, 1, 1], 2)
    head = batch.head()
    isda = ISDA(head, strength=0.25)
    delta = feed(isda, head, batch)
    isda.eval().strength = 0.5
    torch.testing.assert_close(feed(isda, head, batch), 2 * delta)


def test_autocast_does_not_lower_the_precision():
    batch = random_batch([0, 0, 1, 1, 1], 2, dtype=torch.float32)
    head = batch.head()
    expected = feed(ISDA(head), head, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        delta = feed(ISDA(head), head, batch)
    assert torch.equal(delta, expected)


def test_a_copy_of_a_model_with_its_criterion_sees_its_own_head():
    batch = random_batch([0, 0, 1, 1], 2, dtype=torch.float32)
    model = torch.nn.Module()
    model.head = batch.head()
    model.loss = PerturbedLoss(ISDA(model.head))
    twin = copy.deepcopy(model)
    expected = model.loss(model.head(batch.features), batch.targets)
    loss = twin.loss(twin.head(batch.features), batch.targets)
    assert torch.equal(loss, expected)
    loss.backward()
    assert twin.head.weight.grad is not None
    assert model.head.weight.grad is None


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_isda_is_the_entropic_risk_of_gaussian_features(strength):
    """With ``xi ~ N(0, strength Sigma_y)``: at strength 1 the loss is
    ``log E exp l(h + xi)``, by Gauss-Hermite quadrature in two dimensions; the mean loss
    ``E l(h + xi)`` is below it at any strength."""
    _, targets, features, weight = random_batch([0, 0, 0, 1, 1, 1], 3)
    features, weight = 0.7 * features[:, :2], weight[:, :2]
    head = linear(weight)
    isda = ISDA(head, strength)
    delta = isda(head(features), targets).detach()
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


class Held(TorchDispatchMode):
    """Bytes that the results of operators hold, ``now`` and at most, ``peak``."""

    now = peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        given = {id(part) for part in self.storages((args, kwargs))}
        for part in self.storages(found):
            if id(part) not in given and part.nbytes():
                self.change(part.nbytes())
                weakref.finalize(part, self.change, -part.nbytes())
        return found

    @staticmethod
    def storages(tree):
        parts = (part for part in tree_leaves(tree) if isinstance(part, torch.Tensor))
        return [part.untyped_storage() for part in parts]

    def change(self, size):
        self.now += size
        self.peak = max(self.peak, self.now)


@pytest.mark.parametrize(("covariance", "most"), [("full", 8), ("diagonal", 10)])
def test_memory_is_a_few_tensors_of_logits_beside_the_covariances(covariance, most):
    """What backward needs of the covariances, a copy of the batch's, is left out."""
    size, num_classes, width = 128, 256, 16
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(size, width, generator=draw)
    targets = torch.randint(num_classes, (size,), generator=draw)
    head = torch.nn.Linear(width, num_classes)
    criterion = PerturbedLoss(ISDA(head, covariance=covariance))
    logits = head(features)
    with Held() as held:
        criterion(logits, targets).backward()
    copied = size * criterion.perturbation.spread[0].numel()
    assert 0 < (held.peak / 4 - copied) / logits.numel() <= most


def test_the_full_form_can_be_differentiated_twice():
    logits, targets, features, weight = random_batch([0, 2, 2, 0], 5)
    head = linear(weight)
    isda = ISDA(head)
    feed(isda, head, Batch(logits, targets, features, weight))

    def forms(weight):
        return isda.eval()._quadratic_forms(weight, targets)

    assert torch.autograd.gradcheck(forms, weight.requires_grad_())
    assert torch.autograd.gradgradcheck(forms, weight)


def test_features_that_are_not_finite_leave_the_statistics_alone():
    """In half precision a step may overflow and be left out; the next must go on."""
    isda, clean = (ISDA(torch.nn.Linear(2, 3)) for _ in range(2))
    features = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    clean.update(features[1:], targets[1:])
    isda.update(features.index_fill(0, torch.tensor(0), torch.nan), targets)
    for name, value in isda.state_dict().items():
        assert torch.equal(value, clean.state_dict()[name])
