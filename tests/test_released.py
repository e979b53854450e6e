"""The walk of the released scripts, against a loop, the library's solvers and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lpl_lib import LPL
from lpl_lib.lab.released import Released, ReleasedWalk

COUNTS = [60, 30, 10, 4, 1]
DRAW = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(12, 5, generator=DRAW, dtype=torch.float64)
TARGETS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 4, 4, 0])  # class 3 is absent


def by_loop(norms: str, extra: float = 1.1, alpha: float = 0.25) -> np.ndarray:
    """The walk of each class, written out; 40% of the classes are the head."""
    u, y = LOGITS.numpy(), TARGETS.numpy()
    sizes = [extra * n / 60 if c < 2 else extra * 1 / n for c, n in enumerate(COUNTS)]
    delta = np.zeros((5, 5))
    for step in range(4):  # 1.1 / 0.25 is 4.4
        table = np.zeros((5, 5))
        for c in set(y):
            moved = np.exp(u[y == c] + delta[c])
            table[c] = (moved / moved.sum(1, keepdims=True)).mean(0) - np.eye(5)[c]
        for c in set(y):
            if (step + 1) * alpha <= sizes[c] + 1e-9:
                norm = np.linalg.norm(table[c] if norms == "rows" else table[:, c])
                delta[c] += (-1 if c < 2 else 1) * alpha * table[c] / norm
    return delta[y]


@pytest.mark.parametrize("norms", ["rows", "columns"])
def test_the_walk_is_that_of_a_loop(norms):
    delta = ReleasedWalk(COUNTS, extra=1.1, norms=norms)(LOGITS, TARGETS)
    np.testing.assert_allclose(delta.numpy(), by_loop(norms), atol=1e-6)
    assert delta.abs().max() > 0.2


def test_with_columns_it_is_lpl_with_the_solver_of_that_name():
    lpl = LPL(COUNTS, 1.1, solver=Released(0.25))
    walk = ReleasedWalk(COUNTS, extra=1.1, norms="columns")
    torch.testing.assert_close(walk(LOGITS, TARGETS), lpl(LOGITS, TARGETS))


@pytest.mark.parametrize("norms", ["rows", "columns"])
@pytest.mark.parametrize("through", [False, True])
def test_gradients_flow_through_the_walk_only_if_asked(norms, through):
    walk = ReleasedWalk(COUNTS, extra=1.1, norms=norms, through=through).double()
    logits = LOGITS.clone().requires_grad_()
    delta = walk(logits, TARGETS)
    assert delta.requires_grad == through
    F.cross_entropy(logits + delta, TARGETS, reduction="sum").backward()
    used = (LOGITS + delta.detach()).softmax(1) - F.one_hot(TARGETS, 5)
    assert torch.allclose(logits.grad, used) != through
    if through:
        assert torch.autograd.gradcheck(lambda u: walk(u, TARGETS), logits)


def test_a_bound_below_one_step_moves_nothing():
    assert not ReleasedWalk(COUNTS, extra=0.2)(LOGITS, TARGETS).any()


def test_certain_samples_and_absent_classes_give_no_nan():
    sure = 200 * torch.eye(5)
    for norms in ("rows", "columns"):
        logits = sure[:3].clone().requires_grad_()
        walk = ReleasedWalk(COUNTS, extra=3.0, norms=norms, through=True)
        delta = walk(logits, torch.arange(3))
        F.cross_entropy(logits + delta, torch.arange(3)).backward()
        assert delta.isfinite().all()
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extra": -1.0}, "extra must be"),
        ({"step_size": 0.0}, "step_size must be"),
        ({"class_counts": [3, 0]}, "class_counts"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ReleasedWalk(**{"class_counts": COUNTS, **settings})
