"""Loss variation order by order in the perturbation."""

from __future__ import annotations

from torch import Tensor

from lpl_lib.checks import check_batch
from lpl_lib.perturbations import at_least_float32


def loss_variation_series(
    logits: Tensor, targets: Tensor, delta: Tensor, order: int = 2
) -> Tensor:
    r"""Return the loss variation up to ``order`` 1, 2 or 3 in ``delta``, ``(B,)``.

    .. math:: \Delta\ell \approx (p - e_y)^\top \delta
              + \tfrac12 \mathrm{Var}_p(\delta) + \tfrac16 \kappa_3(\delta)

    with the variance and the third central moment of :math:`\delta_c` under
    :math:`c \sim p = \mathrm{softmax}(u)`.

    Raises:
        ValueError: ``order`` other than 1, 2, 3.

    >>> u, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> delta = torch.tensor([[-1.0, 1.0]])
    >>> [round(loss_variation_series(u, y, delta, k).item(), 3) for k in (1, 2, 3)]
    [0.238, 0.448, 0.555]
    """
    if order not in (1, 2, 3):
        raise ValueError(f"order must be 1, 2 or 3, got {order}")
    check_batch(logits, targets)
    p = at_least_float32(logits).softmax(1)
    mean = (p * delta).sum(1)
    total = mean - delta.gather(1, targets.long()[:, None])[:, 0]
    for power, factor in ((2, 1 / 2), (3, 1 / 6))[: order - 1]:
        total = total + factor * (p * (delta - mean[:, None]) ** power).sum(1)
    return total
