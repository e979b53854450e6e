r"""Which error a perturbed loss minimises, given all the data and a model without limits.

At a point where class :math:`y` has the posterior probability :math:`\eta_y`, the best
logits minimise :math:`\sum_y \eta_y\, \ell(u + \delta_y, y)`. A *table* of perturbations
holds :math:`\delta_y` in row :math:`y`; logits and perturbations are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor


def threshold_odds(gap_plus: Tensor | float, gap_minus: Tensor | float) -> Tensor:
    r"""Return the posterior odds at which the best binary score changes sign.

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


def symmetric_table(gaps: Tensor) -> Tensor:
    r"""Return the table :math:`\delta_y = \tfrac12 G_y (\mathbf 1 - 2 e_y)`, ``(C, C)``.

    LPL in the maximum norm with :math:`G_y = \pm 2\varepsilon_y`; up to constants, LDAM
    with :math:`G_y = m_y`.

    >>> symmetric_table(torch.tensor([2.0, 0.0]))
    tensor([[-1.,  1.],
            [ 0., -0.]])
    """
    return gaps[:, None] / 2 * (1 - 2 * torch.eye(len(gaps), dtype=gaps.dtype))
