"""What a free output bias takes over, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib import LogitAdjustment
from lpl_lib.book.theory.absorption import shared_shift, unshared_gaps


def random_square(seed: int, size: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(size, size, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shift_is_the_least_squares_solution(size: int) -> None:
    """Against numpy's solver; the diagonal does not count."""
    delta = random_square(size, size)
    rows, wanted = [], []
    for y in range(size):
        for c in set(range(size)) - {y}:
            rows.append(np.eye(size)[c] - np.eye(size)[y])
            wanted.append(float(delta[y, c] - delta[y, y]))
    rows.append(np.ones(size))
    wanted.append(0.0)
    found = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    assert np.abs(shared_shift(delta).numpy() - found).max() < 1e-12


def test_shared_perturbations_leave_nothing() -> None:
    g = random_square(0, 5)[0]
    delta = g.repeat(5, 1) + random_square(1, 5)[:, :1]  # a constant for each class
    torch.testing.assert_close(shared_shift(delta), g - g.mean())
    assert unshared_gaps(delta).abs().max() < 1e-14


def test_two_classes_split_into_a_shift_and_a_margin() -> None:
    g_plus, g_minus = 1.7, -0.4
    delta = torch.tensor([[-g_plus, 0.0], [0.0, -g_minus]], dtype=torch.float64)
    g = shared_shift(delta)
    assert abs(float(g[0] - g[1]) + (g_plus - g_minus) / 2) < 1e-14
    rest = unshared_gaps(delta)
    assert (rest[0, 1] - (g_plus + g_minus) / 2).abs() < 1e-14
    assert (rest[1, 0] - rest[0, 1]).abs() < 1e-14


def test_symmetric_perturbations_of_three_classes_are_never_absorbed() -> None:
    """delta_y = t_y/2 (1 - 2 e_y), as LPL in the maximum norm: unless all t are 0."""
    for seed in range(50):
        t = random_square(seed, 3)[0]
        delta = t[:, None] / 2 * (1 - 2 * torch.eye(3, dtype=torch.float64))
        assert unshared_gaps(delta).abs().max() > 0.1 * t.abs().max()


def minimiser(x: Tensor, y: Tensor, delta: Tensor) -> Tensor:
    """Softmax regression with a free bias, perturbed; rows are inputs, last is the bias.
    Centred over classes."""
    w = torch.zeros(x.shape[1], int(y.max()) + 1, dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [w],
        max_iter=3000,
        max_eval=4000,
        tolerance_grad=1e-12,
        tolerance_change=0,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ w + delta[y], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    w = w.detach()
    return w - w.mean(1, keepdim=True)


def test_logit_adjustment_moves_the_bias_and_nothing_else() -> None:
    """Softmax regression, four classes; weights agree to 1e-6, those of LPL do not."""
    rng = np.random.default_rng(3)
    y = torch.tensor(rng.choice(4, size=400, p=[0.6, 0.25, 0.1, 0.05]))
    x = torch.tensor(rng.normal(size=(400, 3))) + 1.5 * torch.eye(4)[y][:, :3]
    x = torch.cat([x, torch.ones(400, 1)], 1).double()
    counts = torch.bincount(y)
    adjust = LogitAdjustment(counts.tolist())
    everything = adjust(torch.zeros(4, 4, dtype=torch.float64), torch.arange(4))
    plain = minimiser(x, y, torch.zeros(4, 4, dtype=torch.float64))
    moved = minimiser(x, y, everything)
    difference = moved - plain
    assert difference[:3].abs().max() < 1e-6
    assert (difference[3] + shared_shift(everything)).abs().max() < 1e-6
    t = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    lpl = t[:, None] / 2 * (1 - 2 * torch.eye(4, dtype=torch.float64))
    assert (minimiser(x, y, lpl) - plain)[:3].abs().max() > 0.01


def test_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"delta must have shape \(C, C\)"):
        shared_shift(torch.zeros(2, 3))
