"""Which error a perturbed loss minimises: thresholds, ties, and shared tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

from lpl_lib import LDAM, LInf, LogitAdjustment
from lpl_lib.book.theory.tables import table_posterior, threshold_odds

seeds = st.integers(0, 9999)
sizes = st.integers(2, 6)


def normal(seed: int, *shape: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def minimiser(table: Tensor, eta: Tensor) -> np.ndarray:
    """The probabilities that minimise the expected perturbed loss, by BFGS."""
    shift, weight = table.numpy(), eta.numpy()

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        moved = u + shift
        top = moved.max(1, keepdims=True)
        chances = np.exp(moved - top)
        total = chances.sum(1, keepdims=True)
        loss = np.log(total)[:, 0] + top[:, 0] - np.diag(moved)
        return float(weight @ loss), weight @ (chances / total) - weight

    run = minimize(
        objective,
        np.zeros(len(eta)),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-11, "maxiter": 5000},
    )
    best = np.exp(run.x - run.x.max())
    return best / best.sum()


def symmetric_table(gaps: Tensor) -> Tensor:
    """LPL's table in the maximum norm, with gaps of twice the bounds."""
    return gaps[:, None] / 2 * (1 - 2 * torch.eye(len(gaps), dtype=gaps.dtype))


@given(up=st.floats(-3, 3), down=st.floats(-3, 3))
def test_at_the_threshold_the_best_score_is_zero(up, down):
    odds = float(threshold_odds(up, down))
    eta = odds / (1 + odds)

    def loss(f: float) -> float:
        return eta * np.logaddexp(0, up - f) + (1 - eta) * np.logaddexp(0, f + down)

    found = minimize_scalar(loss, bounds=(-15, 15), method="bounded")
    assert abs(found.x) < 1e-4
    for more, sign in ((1.05, 1), (0.95, -1)):
        eta = odds * more / (1 + odds * more)
        found = minimize_scalar(loss, bounds=(-15, 15), method="bounded")
        assert sign * found.x > 0


@given(up=st.floats(0, 50), down=st.floats(0, 50))
def test_raising_losses_alone_corrects_at_most_two_to_one(up, down):
    odds = float(threshold_odds(up, down))
    assert 0.5 <= odds <= 2
    assert float(threshold_odds(20.0, 0.0)) == pytest.approx(0.5, rel=1e-8)


@given(ratio=st.floats(0.01, 100))
def test_lowering_one_loss_reaches_any_ratio_and_so_does_la(ratio):
    log_ratio = np.log(ratio)
    assert float(threshold_odds(log_ratio, -log_ratio)) == pytest.approx(1 / ratio)
    # one class lowered alone: 2 / (1 + e^-G) = 1 / ratio for the class that is ahead
    ahead = -np.log(2 * max(ratio, 1 / ratio) - 1)
    assert float(threshold_odds(0.0, ahead)) == pytest.approx(min(ratio, 1 / ratio))


@given(seed=seeds, size=sizes)
def test_logits_are_best_for_the_stationary_distribution(seed, size):
    table, logits = normal(seed, size, size), normal(seed + 1, size)
    eta = table_posterior(table, logits)
    assert (eta > 0).all()
    assert float(eta.sum()) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(minimiser(table, eta), logits.softmax(0), atol=1e-6)


@given(seed=seeds, size=sizes)
def test_a_shared_table_is_consistent_for_a_weighted_error(seed, size):
    """Rows ``g`` up to constants: ``u = log eta - g``, so weights ``e^-g``."""
    g, logits = 1.5 * normal(seed, size), normal(seed + 1, size)
    table = g + normal(seed + 2, size, 1)
    eta = table_posterior(table, logits)
    best = (eta.log() - g).softmax(0)
    torch.testing.assert_close(best, logits.softmax(0), rtol=1e-10, atol=1e-12)


def test_la_is_the_shared_table_of_the_balanced_error():
    counts = [70, 20, 10]
    table = LogitAdjustment(counts)(torch.zeros(3, 3).double(), torch.arange(3))
    prior = torch.tensor(counts).double() / 100
    logits = normal(5, 50, 3)
    eta = table_posterior(table, logits)
    torch.testing.assert_close(
        (eta / prior).log().softmax(1), logits.softmax(1), rtol=1e-6, atol=1e-9
    )


def test_lpl_in_the_maximum_norm_and_ldam_are_symmetric_tables():
    logits, y = torch.zeros(3, 3).double(), torch.arange(3)
    radius = torch.tensor([0.5, -1.0, 0.2]).double()
    lpl = LInf()(logits, y, radius, 1.0)
    torch.testing.assert_close(lpl, symmetric_table(2 * radius))
    ldam = LDAM([50, 10, 5])
    expected = symmetric_table(ldam.margins.double())
    table = ldam(logits, y).double()
    off = table - expected
    torch.testing.assert_close(off, off[:, :1].expand(3, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("gaps", [(1.0, -1.0), (2.0, 0.5), (-0.5, -3.0)])
def test_unequal_symmetric_gaps_fit_no_weighted_error(gaps):
    """Along the border the odds change with the probability of the tie (C >= 3)."""
    table = symmetric_table(torch.tensor([*gaps, 0.0]).double())
    ties = torch.linspace(0.34, 0.49, 7, dtype=torch.float64)
    logits = torch.stack([ties, ties, 1 - 2 * ties], 1).log()
    eta = table_posterior(table, logits)
    odds = eta[:, 0] / eta[:, 1]
    assert float(odds.max() / odds.min()) > 1.05


def test_random_tables_fit_no_weighted_error():
    for seed in range(50):
        table = normal(seed, 3, 3)
        logits = torch.tensor([[1, 1, x] for x in (0.02, 0.5, 1.0)]).double().log()
        eta = table_posterior(table, logits)
        odds = (eta[:, 0] / eta[:, 1]).log()
        assert float(odds.max() - odds.min()) > 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: table_posterior(torch.zeros(2, 3), torch.zeros(3)), "table must have"),
        (lambda: table_posterior(torch.zeros(2, 2), torch.zeros(3)), "logits must have"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
