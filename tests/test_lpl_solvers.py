"""Solvers of the inner problem: bounds kept, optimum reached, closed forms and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import batches, random_batch
from hypothesis import given
from hypothesis import strategies as st
from reference import algorithm1, best_in_ball, class_gradient
from scipy.special import lambertw
from torch import Tensor

from lpl_lib import LPL, FixedBound, PerturbedLoss
from lpl_lib.lab.released import Released
from lpl_lib.lab.variants import PGD
from lpl_lib.lpl import L2, SOLVERS, Algorithm1, LInf, Solver

SOLVER_LIST = {
    "linf": LInf(),
    "l2": L2(),
    "l2, one step": L2(steps=1),
    "l2, nine steps": L2(steps=9),
    "algorithm1": Algorithm1(step_size=0.25),
    "pgd": PGD(steps=5),
}
every_solver = pytest.mark.parametrize("solver", SOLVER_LIST.values(), ids=SOLVER_LIST)
both_signs = pytest.mark.parametrize("sign", [1, -1], ids=["maximise", "minimise"])
LONG = L2(steps=100)


def solve(solver: Solver, u: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Call a solver with a signed radius for each class, or one for all samples."""
    rows = radius[y] if isinstance(radius, Tensor) else torch.full(y.shape, float(radius))
    return solver(u, y, rows, float(rows.abs().max()))


def losses(u: Tensor, y: Tensor, delta: Tensor | float = 0.0) -> Tensor:
    """Cross-entropy of each sample."""
    return F.cross_entropy(u + delta, y, reduction="none")


def mean_losses(u: Tensor, y: Tensor, delta: Tensor | float = 0.0) -> Tensor:
    """Mean loss of each class that is present, by label."""
    values = losses(u, y, delta)
    return torch.stack([values[y == c].mean() for c in y.unique()])


def signed_radii(num_classes: int, seed: int, largest: float) -> Tensor:
    """A signed bound for each class."""
    draw = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (num_classes,), generator=draw) * 2 - 1
    return largest * signs * torch.rand(num_classes, generator=draw)


def rival_odds(*odds: float) -> Tensor:
    """Logits of one sample of class 0 with odds 1 against these rivals."""
    return torch.tensor([[1.0, *odds]], dtype=torch.float64).log()


many = given(
    batch=batches(smallest=2), seed=st.integers(0, 999), largest=st.floats(0.01, 6)
)


@every_solver
@many
def test_delta_is_shared_by_the_class_and_keeps_its_bound(solver, batch, seed, largest):
    u, y = batch[:2]
    radius = signed_radii(u.shape[1], seed, largest)
    delta = solve(solver, u, y, radius)
    bound = radius.abs()[y].double()
    for c in y.unique():
        assert (delta[y == c] == delta[y == c][0]).all()
    if isinstance(solver, LInf):
        torch.testing.assert_close(delta.abs().amax(1), bound, rtol=0, atol=0)
        return
    torch.testing.assert_close(delta.sum(1), torch.zeros_like(bound), rtol=0, atol=1e-12)
    if isinstance(solver, L2):
        torch.testing.assert_close(delta.norm(dim=1), bound, rtol=1e-9, atol=1e-12)
    elif isinstance(solver, PGD):  # steps of a quarter reach the sphere unless they turn
        assert (delta.norm(dim=1) <= bound * (1 + 1e-12)).all()
    else:  # the own entry is the largest, and the others have the opposite sign
        largest_entry = delta.abs().amax(1)
        assert ((largest_entry < bound) | (largest_entry == 0)).all()
        torch.testing.assert_close(delta.abs().sum(1), 2 * largest_entry)


@every_solver
@many
def test_no_sample_is_moved_the_wrong_way(solver, batch, seed, largest):
    """A direction that lowers the own logit and no other raises every sample's loss, so
    this holds sample by sample, and so for class means, for every bound."""
    u, y = batch[:2]
    radius = signed_radii(u.shape[1], seed, largest)
    change = losses(u, y, solve(solver, u, y, radius)) - losses(u, y)
    assert (change * radius.sign()[y] >= -1e-12).all()


@every_solver
@many
def test_delta_depends_on_no_other_class(solver, batch, seed, largest):
    u, y = batch[:2]
    radius = signed_radii(u.shape[1], seed, largest)
    delta = solve(solver, u, y, radius)
    mine = y == y[0]
    alone = solve(solver, u[mine], y[mine], radius)
    torch.testing.assert_close(delta[mine], alone, rtol=1e-12, atol=1e-12)
    others = torch.where(mine[:, None], u, 5 - 3 * u)
    changed = solve(solver, others, y, radius * (1 + (torch.arange(u.shape[1]) != y[0])))
    torch.testing.assert_close(changed[mine], delta[mine], rtol=1e-12, atol=1e-12)


@every_solver
@both_signs
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 6.0])
@pytest.mark.parametrize("share", [0.5, 0.5001, 0.6, 0.8])
def test_two_dominant_rivals_are_moved_the_right_way(solver, sign, epsilon, share):
    """Whole steps that minimise swing from one rival to the other (see below)."""
    u, y = rival_odds(9 * share, 9 * (1 - share), 1e-3), torch.tensor([0])
    change = losses(u, y, solve(solver, u, y, sign * epsilon)) - losses(u, y)
    assert (sign * change > 0).all()


@many
@both_signs
def test_linf_in_closed_form(batch, seed, largest, sign):
    """Odds of the label are multiplied by ``exp(-+2 eps)``, for every sample."""
    u, y = batch[:2]
    p = u.softmax(1).gather(1, y[:, None])[:, 0]
    expected = torch.log1p((1 / p - 1) * torch.tensor(sign * 2 * largest).exp())
    delta = solve(LInf(), u, y, sign * largest)
    torch.testing.assert_close(losses(u, y, delta), expected, rtol=1e-5, atol=1e-12)


@both_signs
def test_nothing_in_the_ball_of_the_maximum_norm_beats_linf(sign):
    u, y = random_batch([0, 1, 1, 3], 4)[:2]
    best = losses(u, y, solve(LInf(), u, y, 0.8 * sign))
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        other = 0.8 * (2 * torch.rand(4, generator=draw, dtype=torch.float64) - 1)
        assert (sign * (best - losses(u, y, other)) >= 0).all()


@both_signs
@pytest.mark.parametrize("epsilon", [0.3, 2.5])
@pytest.mark.parametrize("num_classes", [3, 4])
def test_l2_against_a_general_optimiser(num_classes, epsilon, sign):
    u, y = random_batch([0, 0, 1, 2, 2, 2], num_classes, seed=num_classes)[:2]
    long = mean_losses(u, y, solve(LONG, u, y, sign * epsilon))
    for c, value in zip(y.unique().tolist(), long.tolist(), strict=True):
        best = best_in_ball(u[y == c].numpy(), c, epsilon, sign)
        assert value == pytest.approx(best, rel=1e-6)


def learnt_to(
    p: float, num_classes: int, spread: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Four samples of each of ten classes, with mean confidence near ``p``."""
    targets = [c for c in range(10) for _ in range(4)]
    u, y = random_batch(targets, num_classes, seed=seed, scale=spread)[:2]
    own = F.one_hot(y, num_classes).double()
    rivals = u.masked_fill(own.bool(), -torch.inf).logsumexp(1)
    noise = u.gather(1, y[:, None])[:, 0] / 2
    return u * (1 - own) + own * (rivals + noise + np.log(p / (1 - p)))[:, None], y


@both_signs
@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_two_steps_reach_nearly_all_of_the_optimum(num_classes, p, epsilon, sign):
    u, y = learnt_to(p, num_classes, spread=1.0, seed=3)
    before = mean_losses(u, y)
    two, long = (
        mean_losses(u, y, solve(solver, u, y, sign * epsilon)) - before
        for solver in (L2(), L2(steps=30))
    )
    assert (two / long > 0.99).all()


@both_signs
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 6.0])
def test_a_long_run_ends_in_a_stationary_point_of_the_sphere(epsilon, sign):
    """``delta = +-eps g / |g|`` with the gradient ``g`` there."""
    u, y = random_batch([0, 0, 0, 1, 2, 2, 3, 3, 3, 3], 6, seed=1)[:2]
    delta = solve(L2(steps=200), u, y, sign * epsilon).numpy()
    for c in range(4):
        own = delta[(y == c).numpy()][0]
        g = class_gradient(u[y == c].numpy(), c, own)
        np.testing.assert_allclose(own, sign * epsilon * g / np.linalg.norm(g), atol=1e-8)


@pytest.mark.parametrize("share", [0.55, 0.6, 0.8])
@pytest.mark.parametrize("epsilon", [3.0, 6.0])
def test_minimising_never_cycles(epsilon, share):
    """Half steps settle on the one minimum; whole steps swing between two rivals."""
    u, y = rival_odds(0.7 / 0.3 * share, 0.7 / 0.3 * (1 - share)), torch.tensor([0])
    best = best_in_ball(u.numpy(), 0, epsilon, sign=-1)
    settled = [
        losses(u, y, solve(L2(steps=k), u, y, -epsilon)).item() for k in (20, 21, 80)
    ]
    assert settled == pytest.approx([best] * 3, rel=1e-3)
    whole = [
        losses(u, y, solve(L2(steps=k, damping=0), u, y, -epsilon)).item() for k in (60, 61)
    ]
    assert max(whole) > 1.01 * best


@both_signs
@pytest.mark.parametrize("num_classes", [2, 10])
def test_l2_with_even_rivals_has_the_symmetric_solution(num_classes, sign):
    u = torch.zeros(1, num_classes, dtype=torch.float64)
    u[0, 0], epsilon = 2.0, 1.5
    delta = solve(L2(), u, torch.tensor([0]), sign * epsilon)[0]
    gap = np.sqrt(num_classes / (num_classes - 1)) * epsilon
    torch.testing.assert_close(
        delta[1:] - delta[0], torch.full((num_classes - 1,), sign * gap).double()
    )


@both_signs
def test_l2_keeps_its_direction_however_well_the_class_is_learnt(sign):
    """With one sample, delta depends on the rivals only, until their probabilities
    underflow (the loss is below 1e-38); then it moves the own logit alone."""
    u, y = random_batch([0], 5, dtype=torch.float32)[:2]
    expected = solve(L2(), u, y, sign * 1.0)
    for margin in (10.0, 80.0):
        easy = u + margin * F.one_hot(y, 5)
        torch.testing.assert_close(
            solve(L2(), easy, y, sign * 1.0), expected, atol=1e-4, rtol=0
        )
    learnt = solve(L2(), u + 1000.0 * F.one_hot(y, 5), y, sign * 1.0)
    assert learnt.tolist() == [[-sign, 0, 0, 0, 0]]


@both_signs
@pytest.mark.parametrize(
    ("epsilon", "step", "times"),
    [
        (0.3, 0.1, 3),
        (0.4, 0.01, 40),
        (0.35, 0.1, 3),
        (0.09, 0.1, 0),
        (1.0, 1.0, 1),
        (0.7, 0.1, 7),
    ],
)
def test_algorithm1_against_a_loop(epsilon, step, times, sign):
    u, y = random_batch([0, 0, 3, 3, 3, 1], 5)[:2]
    delta = solve(Algorithm1(step), u, y, sign * epsilon)
    for c in (0, 1, 3):
        rows = y == c
        expected = algorithm1(u[rows].numpy(), c, epsilon, step, sign, times)
        np.testing.assert_allclose(delta[rows][0], expected, rtol=1e-6, atol=1e-12)


@both_signs
def test_algorithm1_is_exact_where_the_class_is_learnt(sign):
    """The own entry is minus the sum of the others; ``p_y - 1`` would be rounded to 0."""
    u, y = torch.tensor([[25.0, 0.0, 1.0, -2.0]]), torch.tensor([0])
    delta = solve(Algorithm1(0.25), u, y, sign * 1.0)[0]
    assert 0 < sign * delta[1:].min() < 1e-10
    torch.testing.assert_close(delta[0], -delta[1:].sum(), rtol=1e-6, atol=0)


def test_algorithm1_takes_each_class_so_many_steps_as_its_own_bound_allows():
    u, y = random_batch([0, 1, 2, 3], 4)[:2]
    radius = torch.tensor([0.3, -0.1, 0.0, -0.25])
    delta = solve(Algorithm1(0.1), u, y, radius)
    for c, times in enumerate([3, 1, 0, 2]):
        own = u[c : c + 1].numpy()
        bound, sign = radius[c].abs().item(), int(radius[c].sign())
        expected = algorithm1(own, c, bound, 0.1, sign, times)
        np.testing.assert_allclose(delta[c], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("step", [0.1, 0.01, 0.05, 0.15, 0.2, 0.25])
def test_algorithm1_counts_whole_steps_despite_rounding(step):
    """On even odds of 0 : 1 each step is a whole ``step_size``, so steps can be counted."""
    u, y = torch.tensor([[-60.0, 0.0]]), torch.tensor([0])
    wanted = [1, 3, 7, 12, 29, 58]
    taken = [solve(Algorithm1(step), u, y, k * step)[0, 1].item() / step for k in wanted]
    assert [round(steps) for steps in taken] == wanted


@both_signs
@pytest.mark.parametrize("epsilon", [0.5, 2.0])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("num_classes", [2, 10])
def test_algorithm1_of_small_steps_follows_lamberts_law(num_classes, p, epsilon, sign):
    """Even rivals: odds ``o`` become ``W(o exp(o -+ kappa eps))``, ``kappa = C/(C-1)``."""
    odds, kappa = p / (1 - p), num_classes / (num_classes - 1)
    u = rival_odds(*[1 / odds / (num_classes - 1)] * (num_classes - 1))
    delta = solve(Algorithm1(epsilon / 200), u, torch.tensor([0]), sign * epsilon)
    after = (u + delta).softmax(1)[0, 0].item()
    expected = lambertw(odds * np.exp(odds - sign * kappa * epsilon)).real
    assert after == pytest.approx(expected / (1 + expected), abs=4e-3)


@both_signs
@pytest.mark.parametrize("num_classes", [4, 9])
def test_released_against_a_loop(num_classes, sign):
    """Row ``c`` of the classes' gradients is divided by the norm of column ``c``."""
    u, y = random_batch([0, 0, 3, 3, 3, 1], num_classes)[:2]
    delta = solve(Released(0.1), u, y, sign * 0.5)
    expected = np.zeros((num_classes, num_classes))
    for _ in range(5):
        table = np.zeros((num_classes, num_classes))
        for c in (0, 1, 3):
            table[c] = class_gradient(u[y == c].numpy(), c, expected[c])
        expected += sign * 0.1 * table / np.linalg.norm(table, axis=0)[:, None]
    np.testing.assert_allclose(delta, expected[y.numpy()], rtol=1e-6, atol=1e-12)


@both_signs
def test_pgd_against_a_loop(sign):
    """Steps of a given share of the bound, drawn back to the sphere when beyond it."""
    u, y = random_batch([0, 0, 0], 4)[:2]
    delta = np.zeros(4)
    for _ in range(6):
        g = class_gradient(u.numpy(), 0, delta)
        delta = delta + sign * 0.3 * 1.5 * g / np.linalg.norm(g)
        delta = delta * min(1, 1.5 / np.linalg.norm(delta))
    found = solve(PGD(steps=6, share=0.3), u, y, sign * 1.5)
    np.testing.assert_allclose(found[0], delta, rtol=1e-9)
    inside = solve(PGD(steps=2, share=0.3), u, y, sign * 1.5)
    assert inside.norm(dim=1).max() < 0.61 * 1.5


@every_solver
def test_a_radius_of_zero_is_no_perturbation(solver):
    u, y = random_batch([0, 0, 1], 3)[:2]
    assert not solve(solver, u, y, 0.0).any()


@every_solver
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_delta_has_the_dtype_of_the_logits(solver, dtype):
    u, y = random_batch([0, 0, 1], 3, dtype=dtype)[:2]
    assert solve(solver, u, y, 0.5).dtype == dtype


def test_solvers_are_known_by_name():
    assert {name: make() for name, make in SOLVERS.items()} == {
        "linf": LInf(),
        "l2": L2(steps=2, damping=0.5),
        "algorithm1": Algorithm1(step_size=0.01),
    }


@pytest.mark.parametrize("solver", [Algorithm1(), Released(step_size=1e-5)])
def test_a_walk_of_a_hundred_thousand_steps_is_refused(solver):
    """Fault 18: a bound of a million took hours a batch."""
    u, y = random_batch([0, 0, 1], 3)[:2]
    with pytest.raises(ValueError, match=r"reach the bound 1000 in at most 10,000 steps"):
        PerturbedLoss(LPL(3, FixedBound(1000.0), solver=solver))(u.requires_grad_(), y)
