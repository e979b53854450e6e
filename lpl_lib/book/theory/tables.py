r"""Tables of class-level perturbations: which error each one minimises.

A *table* holds :math:`\delta_y` in row :math:`y`, in nats; a number added to a row changes
nothing. At a point where class :math:`y` has the posterior probability :math:`\eta_y`, the
best logits minimise :math:`\sum_y \eta_y\, \ell(u + \delta_y, y)`. A table is *consistent*
for the weights :math:`w` if the largest best logit belongs, at every posterior, to a class
with the largest :math:`w_c \eta_c`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def threshold_odds(gap_plus: Tensor | float, gap_minus: Tensor | float) -> Tensor:
    r"""Return the posterior odds at which the best score of two classes changes sign.

    .. math:: \frac{\eta^*}{1 - \eta^*} = \frac{1 + e^{-G_+}}{1 + e^{-G_-}}

    With gaps that are not negative the odds stay between 1/2 and 2. The balanced error
    asks for :math:`\pi_+/\pi_-`, which :math:`G_+ = -G_- = \log(\pi_-/\pi_+)` gives: LA.

    Args:
        gap_plus: :math:`G_+`, by how much the loss of the positive class asks for a
            larger score, in nats; :math:`2\varepsilon` in the maximum norm.
        gap_minus: the same of the negative class.

    >>> threshold_odds(3.0, 0.0), threshold_odds(2.0, -2.0)
    (tensor(0.5249, dtype=torch.float64), tensor(0.1353, dtype=torch.float64))
    """
    up, down = (torch.as_tensor(g, dtype=torch.float64) for g in (gap_plus, gap_minus))
    return torch.sigmoid(down) / torch.sigmoid(up)


def consistent_table(v: Tensor, s: float = 0.0) -> Tensor:
    r"""Return a table that is consistent for the weights :math:`w = 1/v`, ``(C, C)``.

    .. math:: \delta_{y,k} = \log v_k \;(k \ne y), \qquad \delta_{y,y} = \log(v_y + s)

    Up to a constant for each row there are no others. With :math:`v = \pi` the error is
    the balanced one: :math:`s = 0` is LA, :math:`s < 0` adds to it a margin that is
    largest for the rarest class.

    Args:
        v: ``(C,)``, floating, positive.
        s: above ``-v.min()``.

    Raises:
        ValueError: ``v`` that is no vector of positive finite numbers, ``s`` at or below
            ``-v.min()`` or not finite.

    Source: ours.

    >>> consistent_table(torch.tensor([0.75, 0.25]), s=-0.125).exp()
    tensor([[0.6250, 0.2500],
            [0.7500, 0.1250]])
    """
    if v.ndim != 1 or not bool((v > 0).all() and v.isfinite().all()):
        raise ValueError(f"v must be a vector of positive finite numbers, got {v}")
    if not -float(v.min()) < s < float("inf"):
        raise ValueError(f"s must be above -min v = {-float(v.min()):g}, finite, got {s}")
    return (v + s * torch.eye(len(v), dtype=v.dtype)).log()


def consistent_parts(table: Tensor, tolerance: float = 1e-5) -> tuple[Tensor, float] | None:
    r"""Return ``v`` and ``s`` of a consistent table, and None for any other.

    Two classes among themselves would decide by :math:`v`, and one entry gives the rest:

    .. math:: \frac{v_k}{v_0} = \frac{1 + e^{\delta_{k,k} - \delta_{k,0}}}
                                   {1 + e^{\delta_{0,0} - \delta_{0,k}}}, \qquad
              s = v_1\, e^{\delta_{0,0} - \delta_{0,1}} - v_0 .

    Then :func:`consistent_table` must give back the table, up to a constant a row.

    Args:
        table: ``(C, C)``, floating, two classes or more.
        tolerance: in nats, for each entry.

    Returns:
        ``v``, ``(C,)``, float64, with sum 1, and ``s`` in the same units: the arguments
        of :func:`consistent_table`. The weights are ``1 / v``.

    Raises:
        ValueError: a table that is not square, not finite, or of one class.

    Source: ours.

    >>> prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    >>> v, s = consistent_parts(consistent_table(prior, s=-0.1))
    >>> [round(p, 6) for p in v.tolist()], round(s, 6)
    ([0.5, 0.3, 0.2], -0.1)
    >>> consistent_parts(torch.diag(torch.tensor([0.5, -0.5, -0.5]))) is None
    True
    """
    if check_table(table) < 2:
        raise ValueError("table must have two classes or more, got one")
    own = table.double().diagonal()[:, None] - table.double()
    v = (F.softplus(own[:, 0]) - F.softplus(own[0])).softmax(0)
    s = float(v[1] * own[0, 1].exp() - v[0])
    if not -float(v.min()) < s < float("inf") or not bool(v.all()):
        return None
    rebuilt = consistent_table(v, s)
    off = rebuilt.diagonal()[:, None] - rebuilt - own
    return (v, s) if float(off.abs().max()) <= tolerance else None


def table_posterior(table: Tensor, logits: Tensor) -> Tensor:
    r"""Return the posterior for which these logits are best under a table.

    Row :math:`y` of the matrix :math:`P` is :math:`\mathrm{softmax}(u + \delta_y)`. The
    logits are best exactly if :math:`\eta^\top P = \eta^\top`: :math:`\eta` is the
    stationary distribution of :math:`P`, which is unique.

    Args:
        table: ``(C, C)``, floating; row ``y`` is added to the logits of class ``y``.
        logits: ``(..., C)``.

    Returns:
        ``(..., C)``, float64, positive, with sum 1.

    Raises:
        ValueError: a table that is not square or not finite, logits of another number
            of classes.

    >>> table = torch.tensor([[0.0, 1.0], [0.0, 1.0]])       # the same row: LA-like
    >>> table_posterior(table, torch.tensor([0.0, -1.0]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    size = check_table(table)
    if logits.shape[-1] != size:
        raise ValueError(f"logits must have {size} classes, got {tuple(logits.shape)}")
    chain = (logits.double()[..., None, :] + table.double()).softmax(-1)
    # (P^T - I) eta = 0 has one equation too many: put "the sum is 1" in its place.
    eye = torch.eye(size, dtype=torch.float64)
    system = chain.transpose(-1, -2) - eye
    system[..., -1, :] = 1
    return torch.linalg.solve(system, eye[-1].expand(chain.shape[:-1]))


def best_logits(table: Tensor, posterior: Tensor, steps: int = 1000) -> Tensor:
    r"""Return the logits that a posterior makes best: :func:`table_posterior` turned round.

    The condition :math:`\eta^\top P = \eta^\top`, solved for one factor
    :math:`x_k = e^{u_k}` and repeated,

    .. math:: x_k \leftarrow \eta_k \Big/ \sum_y \frac{\eta_y\, e^{\delta_{y,k}}}
                                                {\sum_j x_j\, e^{\delta_{y,j}}} ,

    lowers the expected loss at each step. One step is enough if all rows are the same;
    own logits that are moved by many nats need more.

    Args:
        table: ``(C, C)``, floating.
        posterior: :math:`\eta`, ``(..., C)``, not negative; need not have sum 1.

    Returns:
        ``(..., C)``, float64, the largest 0; minus infinity where :math:`\eta_c = 0`.

    Raises:
        ValueError: a table that is not square or not finite, a posterior of another
            number of classes or with a negative entry.

    >>> table = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    >>> best_logits(table, table_posterior(table, torch.tensor([-0.7, 0.0])))
    tensor([-0.7000,  0.0000], dtype=torch.float64)
    """
    if posterior.shape[-1] != check_table(table) or bool((posterior < 0).any()):
        raise ValueError(f"posterior must be (..., {len(table)}) and not negative")
    eta, a = posterior.double(), table.double().softmax(1)
    x = torch.ones_like(eta)
    for _ in range(steps):
        x = eta / ((eta / (x @ a.T)) @ a)
    return (x / x.amax(-1, keepdim=True)).log()


def check_table(table: Tensor) -> int:
    """Return ``C`` of a table ``(C, C)``; else a ValueError says what is wrong."""
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
        raise ValueError(f"table must have shape (C, C), got {tuple(table.shape)}")
    if not bool(table.isfinite().all()):
        raise ValueError("table must be finite, got an infinite entry or NaN")
    return len(table)
