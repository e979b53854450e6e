r"""Which error a perturbed loss minimises, given all the data and a model without limits.

At a point where class :math:`y` has the posterior probability :math:`\eta_y`, the best
logits minimise :math:`\sum_y \eta_y\, \ell(u + \delta_y, y)`. A *table* of perturbations
holds :math:`\delta_y` in row :math:`y`; logits and perturbations are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.book.theory.tables import check_table


def threshold_odds(gap_plus: Tensor | float, gap_minus: Tensor | float) -> Tensor:
    r"""Return the posterior odds at which the best binary score changes sign.

    .. math:: \frac{\eta^*}{1 - \eta^*} = \frac{1 + e^{-G_+}}{1 + e^{-G_-}}

    With gaps that are not negative the odds stay between 1/2 and 2. The balanced error
    asks for :math:`\pi_+/\pi_-`, which :math:`G_+ = -G_- = \log(\pi_-/\pi_+)` gives: LA.

    Args:
        gap_plus: :math:`G_+`, by how much the loss of the positive class asks for a
            larger score, in nats; :math:`2\epsilon` in the maximum norm.
        gap_minus: the same of the negative class.

    >>> threshold_odds(3.0, 0.0), threshold_odds(2.0, -2.0)
    (tensor(0.5249, dtype=torch.float64), tensor(0.1353, dtype=torch.float64))
    """
    up, down = (torch.as_tensor(g, dtype=torch.float64) for g in (gap_plus, gap_minus))
    return torch.sigmoid(down) / torch.sigmoid(up)


def symmetric_table(gaps: Tensor) -> Tensor:
    r"""Return the table :math:`\delta_y = \tfrac12 G_y (\mathbf 1 - 2 e_y)`, ``(C, C)``.

    LPL in the maximum norm with :math:`G_y = \pm 2\epsilon_y`; up to constants, LDAM with
    :math:`G_y = m_y`.

    >>> symmetric_table(torch.tensor([2.0, 0.0]))
    tensor([[-1.,  1.],
            [ 0., -0.]])
    """
    return gaps[:, None] / 2 * (1 - 2 * torch.eye(len(gaps), dtype=gaps.dtype))


def symmetric_posterior(probability: Tensor, gaps: Tensor) -> Tensor:
    r"""Return the posterior for which ``probability`` is best under symmetric gaps.

    .. math:: \eta_y \propto q_y (1 - \kappa_y q_y), \qquad \kappa_y = 1 - e^{-G_y}

    Args:
        probability: :math:`q` = softmax of the best logits, ``(..., C)``.
        gaps: :math:`G`, ``(C,)``, in nats, as in :func:`symmetric_table`.

    Returns:
        ``(..., C)``, float64, with sum 1.

    >>> q = torch.tensor([0.5, 0.5])
    >>> symmetric_posterior(q, torch.tensor([3.0, 0.0]))   # odds 0.5249
    tensor([0.3442, 0.6558], dtype=torch.float64)
    """
    q = probability.double()
    shares = q * (1 + torch.expm1(-gaps.double()) * q)
    return shares / shares.sum(-1, keepdim=True)


def tie_odds(probability: Tensor, gap_a: float, gap_b: float) -> Tensor:
    r"""Return the posterior odds of two classes on the border between them.

    .. math:: \frac{\eta_a}{\eta_b} = \frac{1 - \kappa_a q}{1 - \kappa_b q}

    under symmetric gaps, :math:`q = q_a = q_b` being the probability of both, in
    [1/C, 1/2). A weighted error would have the same odds everywhere on the border.

    >>> tie_odds(torch.tensor([0.05, 0.5]), 1.0, -1.0)
    tensor([0.8918, 0.3679], dtype=torch.float64)
    """
    q = probability.double()
    gaps = torch.tensor([-gap_a, -gap_b], dtype=torch.float64)
    up, down = 1 + torch.expm1(gaps)[:, None] * q.reshape(-1)
    return (up / down).reshape(q.shape)


def shared_part(table: Tensor) -> tuple[Tensor, float]:
    r"""Return the LA-like part of a table, and which share of the table it is.

    A row may be moved by a constant without effect, so a table acts as if shared by
    all classes exactly if :math:`\delta_{y,c} = g_c + a_y`. The best such table in least
    squares has the column means for :math:`g`, after each row has lost its mean.

    Returns:
        ``g``, ``(C,)``, with sum 0, and the share in [0, 1] of the squared norm of the
        centred table; NaN for a table of zeros.

    Raises:
        ValueError: a table that is not square.

    >>> g, share = shared_part(torch.tensor([[0.0, 1.0], [5.0, 6.0]]))
    >>> g.tolist(), round(share, 6)
    ([-0.5, 0.5], 1.0)
    """
    size = check_table(table)
    centred = table - table.mean(1, keepdim=True)
    shared = centred.mean(0)
    share = size * shared.square().sum() / centred.square().sum()
    return shared, float(share)
