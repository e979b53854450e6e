"""Set the bound by its effect, so that solvers and norms can be compared."""

from __future__ import annotations

import math

import torch
from scipy.optimize import bisect
from torch import Tensor

from lpl_lib.checks import check_batch
from lpl_lib.lpl.solvers import Solver
from lpl_lib.perturbations import at_least_float32
from lpl_lib.variation import loss_variation, rival_score, softplus

LARGEST = 64.0  # nats; a bound beyond it moves any loss as far as it goes


@torch.no_grad()
def epsilon_for_variation(
    solver: Solver, logits: Tensor, targets: Tensor, variation: float
) -> float:
    r"""Return the bound with which ``solver`` changes the cross-entropy by a wanted share.

    The same :math:`\varepsilon` is a length for one solver, a time for another. This finds,
    by bisection, the one :math:`\varepsilon` for all classes at which

    .. math:: \frac{\sum_i \ell(u_i + \delta_i, y_i) - \ell(u_i, y_i)}
                   {\sum_i \ell(u_i, y_i)} = \text{variation}.

    Args:
        solver: for example ``L2()``.
        logits: ``(B, C)``, of a batch that is typical of training.
        targets: ``(B,)``, integer.
        variation: relative; > 0 raises the losses, between -1 and 0 lowers them.

    Raises:
        ValueError: a variation of 0, or one that no bound up to 64 nats reaches; the
            message says how far the solver gets.

    >>> logits, targets = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> from lpl_lib import LInf
    >>> round(epsilon_for_variation(LInf(), logits, targets, 0.5), 3)  # loss 0.127 to 0.190
    0.219
    """
    check_batch(logits, targets)
    logits, targets = at_least_float32(logits), targets.long()
    before = softplus(rival_score(logits, targets)).sum()

    def reached(epsilon: float) -> float:
        radius = logits.new_full((len(logits),), math.copysign(epsilon, variation))
        delta = solver(logits, targets, radius, epsilon)
        return abs(float(loss_variation(logits, targets, delta).sum() / before))

    high = 1.0
    while reached(high) < abs(variation) and high < LARGEST:
        high *= 2
    if variation == 0 or not reached(high) >= abs(variation):
        raise ValueError(
            f"variation must be a share that {solver} can cause, not 0, got {variation}; "
            f"a bound of {high:g} changes the loss by a share of {reached(high):.3g}"
        )
    return float(bisect(lambda epsilon: reached(epsilon) - abs(variation), 0.0, high))
