"""The soft confusion matrix and its sums at the optimum of cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import random_batch
from scipy.optimize import minimize
from torch import Tensor

from lpl_lib.book.exercises.chapter14 import confusion
from lpl_lib.lpl import ClassConfidence


def softmax_regression(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Logits and labels at the optimum of cross-entropy, free biases, decayed weights."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.normal(size=(len(y), 3)) * (0.5 + y)[:, None] + 1.5 * np.eye(len(counts), 3)[y]
    design, own = np.c_[x, np.ones(len(y))], np.eye(len(counts))[y]

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        table = theta.reshape(4, -1)
        u = design @ table
        top = u.max(1, keepdims=True)
        total = np.exp(u - top).sum(1, keepdims=True)
        p = np.exp(u - top) / total
        ridge = 0.01 * table * np.array([1, 1, 1, 0])[:, None]
        loss = (np.log(total) + top - (u * own).sum(1, keepdims=True)).mean()
        loss += 0.5 * (table * ridge).sum()
        return float(loss), (design.T @ (p - own) / len(y) + ridge).ravel()

    run = minimize(
        objective,
        np.zeros(4 * len(counts)),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-10, "maxiter": 5000},
    )
    return torch.tensor(design @ run.x.reshape(4, -1)), torch.tensor(y)


def test_entries_are_mean_probabilities():
    u, y = random_batch([0, 0, 2, 2, 2], 4)[:2]
    table = confusion(u, y)
    torch.testing.assert_close(table[2], u[2:].softmax(1).mean(0))
    assert table[[1, 3]].isnan().all()
    confidence = ClassConfidence(4)(u, y).confidence[[0, 2]].double()
    torch.testing.assert_close(table.diag()[[0, 2]], confidence, rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_with_equal_counts_it_is_doubly_stochastic(seed):
    table = confusion(*softmax_regression([150] * 4, seed))
    np.testing.assert_allclose(table.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(table.sum(0), 1, atol=1e-6)
    lost = 1 - table.diag()
    taken = table.sum(0) - table.diag()
    np.testing.assert_allclose(lost, taken, atol=1e-6)
    assert float(table.diag().max() - table.diag().min()) > 0.02


@pytest.mark.parametrize("counts", [[300, 100, 50, 150], [400, 100], [200, 200]])
def test_columns_add_up_to_the_priors(counts):
    table = confusion(*softmax_regression(counts, 1))
    prior = torch.tensor(counts).double() / sum(counts)
    np.testing.assert_allclose(prior @ table, prior, atol=1e-6)
    if len(counts) == 2:
        lost = prior * (1 - table.diag())
        assert float(lost[0]) == pytest.approx(float(lost[1]), abs=1e-6)
