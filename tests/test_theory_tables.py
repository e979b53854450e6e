"""Which tables are consistent for a weighted error: the theorem and what follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize
from torch import Tensor

from lpl_lib import LDAM, LInf, LogitAdjustment
from lpl_lib.book.theory.tables import (
    best_logits,
    consistent_parts,
    consistent_table,
    table_posterior,
)

seeds = st.integers(0, 9999)
sizes = st.integers(2, 8)
shares = st.floats(-0.99, 8)  # s in units of min v; below 0 it lowers the own logit
own = torch.eye(3, dtype=torch.bool)


def normal(seed: int, *shape: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def drawn(seed: int, size: int, share: float) -> tuple[Tensor, float, Tensor]:
    """``v``, ``s`` and their table, each row moved by a constant of its own."""
    v = normal(seed, size).softmax(0)
    s = share * float(v.min())
    return v, s, consistent_table(v, s) + 3 * normal(seed + 1, size, 1)


def ties(size: int, a: int, b: int, seed: int, number: int = 6) -> Tensor:
    """Logits whose largest two are those of ``a`` and ``b``, and equal."""
    logits = -3 * normal(seed, number, size).abs()
    logits[:, [a, b]] = 0
    return logits


def bend(table: Tensor) -> Tensor:
    """By how much the log posterior odds vary on the borders: 0 for a consistent table."""
    size = len(table)
    spread = []
    for a in range(size):
        for b in range(a):
            eta = table_posterior(table, ties(size, a, b, seed=a * size + b)).log()
            spread.append(torch.var(eta[:, a] - eta[:, b], correction=0))
    return torch.stack(spread).sum()


# --- the chain ------------------------------------------------------------------------


@given(seed=seeds, size=sizes)
def test_the_gradient_of_the_expected_loss_vanishes_at_the_stationary_distribution(
    seed, size
):
    table, logits = 2 * normal(seed, size, size), 3 * normal(seed + 1, size)
    eta = table_posterior(table, logits)
    leaf = logits.requires_grad_()
    losses = F.cross_entropy(leaf + table, torch.arange(size), reduction="none")
    (gradient,) = torch.autograd.grad(eta @ losses, leaf)
    assert float(gradient.abs().max()) < 1e-13
    other = normal(seed + 2, size).softmax(0)
    assume(float((other - eta).abs().max()) > 0.01)
    moved = F.cross_entropy(leaf + table, torch.arange(size), reduction="none")
    (gradient,) = torch.autograd.grad(other @ moved, leaf)
    assert float(gradient.abs().max()) > 1e-6


@given(seed=seeds, size=sizes)
def test_best_logits_turn_the_posterior_round(seed, size):
    table, logits = normal(seed, size, size), normal(seed + 1, 5, size)
    back = best_logits(table, 3 * table_posterior(table, logits))
    expected = logits - logits.amax(1, keepdim=True)
    torch.testing.assert_close(back, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_each_step_lowers_the_expected_loss(seed):
    table, eta = 2 * normal(seed, 4, 4), normal(seed + 1, 4).softmax(0)

    def loss(steps: int) -> float:
        u = best_logits(table, eta, steps)
        return float(eta @ F.cross_entropy(u + table, torch.arange(4), reduction="none"))

    assert (np.diff([loss(steps) for steps in range(30)]) < 1e-15).all()


def test_a_class_that_never_occurs_gets_no_logit():
    table = consistent_table(torch.tensor([0.5, 0.3, 0.2]).double())
    u = best_logits(table, torch.tensor([0.5, 0.5, 0.0]))
    assert torch.isneginf(u[2])
    assert u[:2].isfinite().all()


# --- if: each table of the family is consistent -----------------------------------------


@given(seed=seeds, size=sizes, share=shares)
def test_posterior_in_closed_form_and_its_order(seed, size, share):
    v, s, table = drawn(seed, size, share)
    p = (2 * normal(seed + 2, 20, size)).softmax(1)
    eta = table_posterior(table, p.log())
    closed = v * p * ((p @ v)[:, None] + s * p)
    torch.testing.assert_close(
        eta, closed / closed.sum(1, keepdim=True), rtol=1e-8, atol=1e-13
    )
    assert torch.equal((closed / v).argsort(1), p.argsort(1))


@pytest.mark.parametrize("seed", range(40))
def test_an_optimiser_decides_for_the_largest_weighted_posterior(seed):
    """From the posterior to the decision, without the chain: BFGS on the expected loss."""
    size = 3 + seed % 6
    v, _, table = drawn(seed, size, (-0.9, 0.0, 0.5, 5.0)[seed % 4])
    shift, eta = table.numpy(), normal(seed + 7, size).softmax(0).numpy()

    def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
        moved = u + shift
        total = np.logaddexp.reduce(moved, axis=1)
        chain = np.exp(moved - total[:, None])
        return float(eta @ (total - np.diag(moved))), eta @ chain - eta

    found = minimize(loss, np.zeros(size), jac=True, options={"gtol": 1e-10}).x
    assert found.argmax() == (eta / v.numpy()).argmax()


# --- only if: nothing else is ------------------------------------------------------------


@given(seed=seeds, size=sizes, share=shares)
def test_parts_of_a_consistent_table_are_found(seed, size, share):
    v, s, table = drawn(seed, size, share)
    found = consistent_parts(table)
    assert found is not None
    torch.testing.assert_close(found[0], v, rtol=1e-7, atol=0)
    assert found[1] == pytest.approx(s, rel=1e-5, abs=1e-9)


@given(seed=seeds)
def test_two_classes_have_no_other_tables(seed):
    table = 3 * normal(seed, 2, 2)
    found = consistent_parts(table)
    assert found is not None
    odds = table_posterior(table, torch.zeros(2))
    assert float(odds[0] / odds[1]) == pytest.approx(float(found[0][0] / found[0][1]))


@given(seed=seeds, size=st.integers(3, 8), step=st.floats(0.05, 3), down=st.booleans())
def test_one_entry_changed_is_enough_to_bend_a_border(seed, size, step, down):
    _, _, table = drawn(seed, size, 0.5)
    assert float(bend(table)) < 1e-16
    y, k = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:2]
    table[y, k] += -step if down else step
    assert consistent_parts(table) is None
    assert float(bend(table)) > 1e-12


@given(seed=seeds)
def test_on_a_tie_of_three_the_odds_are_a_ratio_of_two_quadratics(seed):
    """The formula of the proof, from the Markov chain tree theorem."""
    a = normal(seed, 3, 3)
    a = (a - a.diagonal()[:, None]).exp()
    t = torch.linspace(0.01, 1, 7).double()
    eta = table_posterior(a.log(), torch.stack([t**0, t**0, t], 1).log())
    both = a[2, 0] + a[2, 1]
    up = (1 + a[0, 1] + a[0, 2] * t) * (a[1, 0] * both + a[1, 2] * a[2, 0] * t)
    low = (1 + a[1, 0] + a[1, 2] * t) * (a[0, 1] * both + a[0, 2] * a[2, 1] * t)
    torch.testing.assert_close(eta[:, 0] / eta[:, 1], up / low, rtol=1e-9, atol=0)


def test_a_search_for_tables_without_bend_ends_in_the_family():
    """The six free entries of three classes, from 20 random starts."""

    def table_of(z: np.ndarray) -> Tensor:
        return torch.zeros(3, 3).double().masked_scatter(~own, torch.tensor(z))

    def residuals(z: np.ndarray) -> np.ndarray:
        found = []
        for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            logits = torch.zeros(5, 3).double()
            logits[:, c] = torch.tensor([1e-6, 0.25, 0.5, 0.75, 1]).log()
            eta = table_posterior(table_of(z), logits).log()
            odds = eta[:, a] - eta[:, b]
            found.append(odds - odds.mean())
        return torch.cat(found).numpy()

    reached = 0
    for seed in range(20):
        run = least_squares(residuals, normal(seed, 6).numpy(), xtol=1e-15, ftol=1e-15)
        if run.cost < 1e-20 and np.abs(run.x).max() < 8:
            assert consistent_parts(table_of(run.x), tolerance=1e-4) is not None
            reached += 1
    assert reached >= 10


# --- what follows -------------------------------------------------------------------------


def known(counts: list[int]) -> tuple[Tensor, Tensor]:
    """Priors, and LA's table as the library makes it."""
    size = len(counts)
    table = LogitAdjustment(counts)(torch.zeros(size, size).double(), torch.arange(size))
    prior = torch.tensor(counts).double()
    return prior / prior.sum(), table


def test_members_la_class_weights_and_equal_gaps():
    prior, la = known([60, 25, 10, 5])
    v, s = consistent_parts(la) or pytest.fail("LA is consistent")
    torch.testing.assert_close(v, prior, rtol=1e-5, atol=0)
    assert abs(s) < 1e-5
    equal = LInf()(torch.zeros(4, 4), torch.arange(4), torch.full((4,), 0.7), 0.7)
    v, s = consistent_parts(equal) or pytest.fail("equal gaps keep the decision")
    torch.testing.assert_close(v, torch.full((4,), 0.25).double(), rtol=1e-5, atol=0)
    assert np.log1p(4 * s) == pytest.approx(-1.4, rel=1e-5)
    # weights alpha in the loss, and v = alpha pi: balanced, whatever alpha
    alpha = normal(3, 4).exp()
    eta = normal(4, 200, 4).softmax(1)
    for share in (0.0, -0.8):
        v = alpha * prior
        table = consistent_table(v, share * float(v.min()))
        decided = best_logits(table, alpha * eta).argmax(1)
        assert torch.equal(decided, (eta / prior).argmax(1))


@given(seed=seeds, size=st.integers(3, 8), bound=st.floats(0.02, 4))
def test_both_signs_on_la_are_never_consistent(seed, size, bound):
    """LPL in the maximum norm, head down and tail up, any bounds of one class each."""
    prior = (2 * normal(seed, size)).softmax(0)
    bounds = bound * (0.1 + normal(seed + 1, size).abs())
    side = torch.where(prior.argsort(descending=True).argsort() < size // 2, -1.0, 1.0)
    lpl = LInf()(torch.zeros(size, size).double(), torch.arange(size), side * bounds, 99.0)
    assert consistent_parts(prior.log() + lpl) is None
    if bound < 1:  # beyond, borders may lie where only extreme posteriors reach
        assert float(bend(prior.log() + lpl)) > 1e-9


@given(seed=seeds, size=st.integers(3, 8), largest=st.floats(0.05, 5))
def test_ldam_on_la_is_consistent_only_for_equal_priors(seed, size, largest):
    counts = torch.randint(1, 1000, (size,), generator=torch.Generator().manual_seed(seed))
    y, zero = torch.arange(size), torch.zeros(size, size).double()
    both = LogitAdjustment(counts) + LDAM(counts, largest)
    assume(float(counts.max() / counts.min()) > 1.2)
    assert consistent_parts(both(zero, y), tolerance=1e-5) is None
    same = LogitAdjustment([7] * size) + LDAM([7] * size, largest)
    assert consistent_parts(same(zero, y)) is not None


@given(seed=seeds, size=st.integers(3, 8), share=st.floats(-0.99, -0.05))
def test_margins_that_cost_nothing_grow_towards_the_tail(seed, size, share):
    prior = (2 * normal(seed, size)).softmax(0).sort(descending=True).values
    s = share * float(prior.min())
    margins = -(consistent_table(prior, s).diagonal() - prior.log())
    torch.testing.assert_close(margins, -(s / prior).log1p(), rtol=1e-9, atol=1e-12)
    assert (margins > 0).all()
    assert (margins.diff() > 0).all()
    found = consistent_parts(prior.log() - margins.diag())
    assert found is not None
    assert found[1] == pytest.approx(s, rel=1e-4)


def test_ten_gaussians_lose_nothing_by_a_consistent_margin():
    prior = 50 ** -torch.linspace(0, 1, 10).double()
    prior /= prior.sum()
    means = 2 * normal(0, 10, 2)
    points = (means[:, None] + normal(1, 10, 100, 2)).reshape(-1, 2)
    fair = (-0.5 * torch.cdist(points, means).square()).softmax(1)
    lpl = LInf()(
        torch.zeros(10, 10).double(),
        torch.arange(10),
        0.5 * torch.tensor([-1.0] * 5 + [1.0] * 5),
        0.5,
    )

    def lost(table: Tensor) -> float:
        decided = best_logits(table, fair * prior).argmax(1, keepdim=True)
        return float(100 * (fair.amax(1) - fair.gather(1, decided)[:, 0]).mean())

    for share in (-0.9, 0.0, 20.0):
        assert lost(consistent_table(prior, share * float(prior.min()))) == 0
    assert 1 < lost(prior.log() + lpl) < lost(prior.log() + 3 * lpl)


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: table_posterior(torch.zeros(2, 3), torch.zeros(3)),
            "table must have shape",
        ),
        (lambda: table_posterior(torch.zeros(2, 2), torch.zeros(3)), "logits must have 2"),
        (
            lambda: table_posterior(
                torch.tensor([[0.0, torch.nan], [0, 0]]), torch.zeros(2)
            ),
            "table must be finite",
        ),
        (lambda: consistent_parts(torch.zeros(3, 2)), "table must have shape"),
        (lambda: consistent_parts(torch.zeros(1, 1)), "two classes or more"),
        (lambda: consistent_parts(torch.full((3, 3), torch.inf)), "table must be finite"),
        (lambda: best_logits(torch.zeros(3, 3), torch.ones(2)), "posterior must be"),
        (
            lambda: best_logits(torch.zeros(2, 2), torch.tensor([1.0, -1])),
            "posterior must be",
        ),
        (lambda: consistent_table(torch.tensor([0.5, 0.5]), -0.5), "above -min v = -0.5"),
        (lambda: consistent_table(torch.tensor([0.9, 0.1]), -0.2), "above -min v = -0.1"),
        (lambda: consistent_table(torch.tensor([0.9, 0.1]), float("inf")), "s must be"),
        (lambda: consistent_table(torch.tensor([0.9, 0.1]), float("nan")), "s must be"),
        (lambda: consistent_table(torch.tensor([1.0, 0.0])), "v must be a vector"),
        (lambda: consistent_table(torch.tensor([1.0, torch.inf])), "v must be a vector"),
        (lambda: consistent_table(torch.ones(2, 2)), "v must be a vector"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_gaps_beyond_all_numbers_are_no_consistent_table():
    table = torch.tensor([[0.0, -2000.0, 0.0], [0.0, 0.0, 5.0], [1.0, 0.0, 0.0]])
    assert consistent_parts(table.double()) is None
