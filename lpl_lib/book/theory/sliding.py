r"""The confidence split as a controller: where it switches, slides and comes to rest.

The model has two classes of one feature, :math:`N(\pm m, 1)`, with priors :math:`\pi_- :
\pi_+ = V : 1`, and the score :math:`z = a x + b`. The split sees the confidences
:math:`\bar q_\pm`, the mean probabilities that the classes give to their own label, and
chooses the sign :math:`s` of an antisymmetric gap :math:`g`: the loss is that of
:math:`z - s g`. The class that is behind is thereby raised, the other lowered. Scores and
gaps are in nats; means are integrals over the feature, not sums over a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.optimize import brentq
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
        sign: what the split decided, in [-1, 1]; +1 raises the rare class.
    """

    slope: Tensor
    bias: Tensor
    lead: Tensor
    sign: Tensor


class SlidingPoint(NamedTuple):
    """Where the adaptive split comes to rest on average.

    Attributes:
        slope: of the score; its bias is 0.
        duty: share of the time during which the rare class is raised, in (1/2, 1].
    """

    slope: float
    duty: float


def hard_sign(lead: Tensor) -> Tensor:
    """The sign of Eq. 9 of Li et al.: +1 if the rare class is behind, else -1.

    >>> hard_sign(torch.tensor([0.2, -0.1]))
    tensor([ 1., -1.])
    """
    return torch.where(lead > 0, 1.0, -1.0).to(lead.dtype)


def simulate_split(
    gap: float,
    ratio: float,
    *,
    mean: float = 1.0,
    decide: Callable[[Tensor], Tensor] = hard_sign,
    steps: int = 2000,
    lr: float = 0.2,
) -> SplitPath:
    r"""Return the path of gradient descent from the optimum of cross-entropy.

    That optimum is :math:`a = 2m`, :math:`b = -\log V`. A step goes along
    :math:`D \nabla L_{+g} + (1 - D) \nabla L_{-g}` with :math:`D = (1 + s)/2`: for a sign
    of one the one or the other, for a sign in between what random signs do on average.

    Args:
        gap: :math:`g` >= 0.
        ratio: :math:`V` > 0, frequent over rare.
        mean: :math:`m` > 0, half the distance of the classes in standard deviations.
        decide: maps :math:`\bar q_- - \bar q_+` to a sign in [-1, 1].
        steps: >= 1.
        lr: learning rate > 0.

    >>> path = simulate_split(gap=0.5, ratio=4, steps=1500)
    >>> round(float(path.bias[0]), 4), round(float(path.bias[-1]), 4)  # up by the gap
    (-1.3863, -0.8863)
    """
    check_number(gap, "gap")
    _check_model(ratio, mean)
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
        sign = decide(lead)
        kept.append(torch.stack([theta[0], theta[1], lead, sign]))
        slope = torch.zeros_like(theta)
        for shift, share in ((gap, (1 + sign) / 2), (-gap, (1 - sign) / 2)):
            pull = rare * MASS * torch.sigmoid(shift - up)
            push = (1 - rare) * MASS * torch.sigmoid(-shift - down)
            slope += share * torch.stack([-((pull + push) @ x), (push - pull).sum()])
        theta = theta - lr * slope
    return SplitPath(*torch.stack(kept, 1))


def sliding_point(gap: float, ratio: float, *, mean: float = 1.0) -> SlidingPoint:
    r"""Return the average state of the adaptive split, by Filippov's equations.

    Where the split switches all the time, the two descent directions mix so as to stay
    on :math:`\bar q_+ = \bar q_-`, that is :math:`b = 0`:

    .. math:: D \nabla L_{+g} + (1 - D) \nabla L_{-g} = 0 .

    With :math:`S_\pm = \mathbb E\,\sigma(\pm g - a x)` and :math:`T_\pm = \mathbb E\, x\,
    \sigma(\pm g - a x)`, :math:`x \sim N(m, 1)`, the second row gives

    .. math:: D = \frac{\pi_- S_+ - \pi_+ S_-}{S_+ - S_-} ,

    and the first, :math:`\alpha T_+ + (1 - \alpha) T_- = 0` with :math:`\alpha = D\pi_+ +
    (1 - D)\pi_-`, is solved for the slope :math:`a`.

    Args:
        gap: :math:`g`, at least :math:`|\log V|`: a smaller gap never switches.
        ratio: :math:`V` >= 1, frequent over rare.
        mean: :math:`m` > 0.

    Raises:
        ValueError: a gap below ``log(ratio)``, or of zero; a ratio below 1.

    >>> point = sliding_point(gap=2.0794, ratio=4)      # 1.5 log 4
    >>> round(point.slope, 3), round(point.duty, 3)
    (2.565, 0.912)
    """
    _check_model(ratio, mean)
    check_number(ratio, "ratio", minimum=1.0)
    least = float(torch.log(torch.as_tensor(ratio, dtype=torch.float64)))
    check_number(gap, "gap", minimum=least)
    check_number(gap, "gap", strict=True)
    x, rare = NODES + mean, 1 / (1 + ratio)

    def duty(slope: float) -> float:
        up = float(MASS @ torch.sigmoid(gap - slope * x))
        down = float(MASS @ torch.sigmoid(-gap - slope * x))
        return ((1 - rare) * up - rare * down) / (up - down)

    def balance(slope: float) -> float:
        share = duty(slope) * rare + (1 - duty(slope)) * (1 - rare)
        up = MASS @ (x * torch.sigmoid(gap - slope * x))
        down = MASS @ (x * torch.sigmoid(-gap - slope * x))
        return float(share * up + (1 - share) * down)

    high = 4 * mean
    while balance(high) > 0:
        high *= 2
    slope = brentq(balance, mean, high, xtol=1e-13)
    return SlidingPoint(slope, min(duty(slope), 1.0))


def effective_sign(distance: Tensor, deviation: Tensor | float, samples: int) -> Tensor:
    r"""Return the mean sign that a small batch gives a class, by the normal formula.

    .. math:: \mathbb E\, \operatorname{sign}(\tau - \hat q_c) \approx
              2\,\Phi\!\left(\frac{\Delta_c \sqrt{n_c}}{\sigma_c}\right) - 1

    Args:
        distance: :math:`\Delta_c = \tau - \bar q_c`, how far the class is behind.
        deviation: :math:`\sigma_c` > 0 of the probabilities :math:`p_c` in the class.
        samples: :math:`n_c` >= 1, samples of the class in the batch.

    Returns:
        in (-1, 1), of the shape of ``distance``.

    >>> effective_sign(torch.tensor(0.05), 0.3, samples=1)
    tensor(0.1324)
    """
    check_count(samples, "samples")
    return 2 * torch.special.ndtr(distance * samples**0.5 / deviation) - 1


def _check_model(ratio: float, mean: float) -> None:
    check_number(ratio, "ratio", strict=True)
    check_number(mean, "mean", strict=True)
