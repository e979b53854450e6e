r"""The confidence split as a controller: where it switches and where it comes to rest.

The model has two classes of one feature, :math:`N(\pm m, 1)`, with priors :math:`\pi_- :
\pi_+ = V : 1`, and the score :math:`z = a x + b`. The split sees the confidences
:math:`\bar q_\pm`, the mean probabilities that the classes give to their own label, and
chooses the sign :math:`s` of an antisymmetric gap :math:`g`: the loss is that of
:math:`z - s g`. The class that is behind is thereby raised, the other lowered. Scores and
gaps are in nats; means are integrals over the feature, not sums over a sample.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpl_lib.checks import check_count, check_number

# A trapezoid sum of an analytic integrand that dies out: exact to rounding.
NODES = torch.linspace(-9, 9, 721, dtype=torch.float64)
MASS = torch.exp(-(NODES**2) / 2) / torch.exp(-(NODES**2) / 2).sum()


class SplitPath(NamedTuple):
    r"""Gradient descent under a split, one entry a step, ``(T,)`` each, float64.

    Attributes:
        slope: :math:`a`, before the step.
        bias: :math:`b`, before the step.
        lead: :math:`\bar q_- - \bar q_+`, by how much the frequent class is ahead.
        sign: what the split decided; +1 raises the rare class.
    """

    slope: Tensor
    bias: Tensor
    lead: Tensor
    sign: Tensor


def simulate_split(
    gap: float, ratio: float, *, mean: float = 1.0, steps: int = 2000, lr: float = 0.2
) -> SplitPath:
    r"""Return the path of gradient descent from the optimum of cross-entropy.

    That optimum is :math:`a = 2m`, :math:`b = -\log V`. A step goes along
    :math:`\nabla L_{sg}`, with the sign :math:`s` of Eq. 9 of Li et al.: +1 if the rare
    class is behind, else -1.

    Args:
        gap: :math:`g` >= 0.
        ratio: :math:`V` > 0, frequent over rare.
        mean: :math:`m` > 0, half the distance of the classes in standard deviations.
        steps: >= 1.
        lr: learning rate > 0.

    >>> path = simulate_split(gap=0.5, ratio=4, steps=1500)
    >>> round(float(path.bias[0]), 4), round(float(path.bias[-1]), 4)  # up by the gap
    (-1.3863, -0.8863)
    """
    check_number(gap, "gap")
    check_number(ratio, "ratio", strict=True)
    check_number(mean, "mean", strict=True)
    check_count(steps, "steps")
    check_number(lr, "lr", strict=True)
    x = NODES + mean  # the rare class; the frequent one is its mirror image
    rare = 1 / (1 + ratio)
    theta = torch.tensor([2 * mean, 0.0], dtype=torch.float64)
    theta[1] = -torch.log(torch.as_tensor(ratio, dtype=torch.float64))
    kept = []
    for _ in range(steps):
        up, down = theta[0] * x + theta[1], theta[0] * x - theta[1]
        lead = MASS @ (torch.sigmoid(down) - torch.sigmoid(up))
        sign = torch.where(lead > 0, 1.0, -1.0).double()
        kept.append(torch.stack([theta[0], theta[1], lead, sign]))
        pull = rare * MASS * torch.sigmoid(sign * gap - up)
        push = (1 - rare) * MASS * torch.sigmoid(-sign * gap - down)
        slope = torch.stack([-((pull + push) @ x), (push - pull).sum()])
        theta = theta - lr * slope
    return SplitPath(*torch.stack(kept, 1))
