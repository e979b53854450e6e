r"""Two normal classes and a linear classifier: its class errors, exactly.

Class "+" has the features :math:`x \sim N(+\theta \mathbf 1, (K\sigma)^2 I)` and class
"-" has :math:`x \sim N(-\theta \mathbf 1, \sigma^2 I)`, in :math:`d` dimensions. Along
the unit vector :math:`w = \mathbf 1/\sqrt d` the score :math:`w^\top x` is normal with
mean :math:`\pm m`, :math:`m = \sqrt d\,\theta`; every other direction has a smaller
distance between the means and the same spreads. So one dimension says it all: "+" is
decided where :math:`w^\top x + b > 0`.

Scores, ``m`` and the bias ``b`` are measured in the units of ``x``. Everything is float64.

Source: the model is that of Xu et al. 2021, "To be robust or to be fair", section 3, to
which we add the priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lpl_lib.checks import check_number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoGaussians:
    r"""The setting: how far apart, how unequally spread, how unequally frequent.

    Args:
        separation: :math:`m > 0`, half the distance between the class means, in the
            units of the score.
        spread_ratio: :math:`K > 0`, standard deviation of "+" over that of "-". (The
            ratio of standard deviations, not of variances, as in Xu et al.)
        prior_ratio: :math:`V > 0`, share of "-" over share of "+".
        sigma: :math:`\sigma > 0`, standard deviation of "-".

    With :math:`K \ge 1` and :math:`V \ge 1` class "+" is the wide and the rare one.

    Raises:
        ValueError: a number that is not positive and finite.

    >>> TwoGaussians(separation=1.0, prior_ratio=4.0).prior_plus
    0.2
    """

    separation: float
    spread_ratio: float = 1.0
    prior_ratio: float = 1.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("separation", "spread_ratio", "prior_ratio", "sigma"):
            check_number(getattr(self, name), name, strict=True)

    @property
    def prior_plus(self) -> float:
        r""":math:`\pi_+ = 1/(1 + V)`."""
        return 1 / (1 + self.prior_ratio)

    @property
    def prior_minus(self) -> float:
        r""":math:`\pi_- = V/(1 + V)`."""
        return self.prior_ratio / (1 + self.prior_ratio)


class Errors(NamedTuple):
    r"""Error rates in [0, 1], each of the shape of the bias.

    Attributes:
        plus: :math:`R_+`, share of class "+" that is decided "-".
        minus: :math:`R_-`, share of class "-" that is decided "+".
        average: :math:`\pi_+ R_+ + \pi_- R_-`, with the priors of training.
        balanced: :math:`(R_+ + R_-)/2`.
        worst: :math:`\max(R_+, R_-)`.
    """

    plus: Array
    minus: Array
    average: Array
    balanced: Array
    worst: Array


def class_errors(model: TwoGaussians, bias: float | Array) -> Errors:
    r"""Return the errors of "decide + where :math:`w^\top x + b > 0`".

    .. math:: R_+ = \Phi\!\left(-\frac{m + b}{K\sigma}\right), \qquad
              R_- = \Phi\!\left(-\frac{m - b}{\sigma}\right)

    Args:
        bias: :math:`b`, of any shape, in the units of the score; also
            :math:`\pm\infty`, the classifier that always says the same.

    Source: the first lines of Xu et al. 2021, appendix A.

    >>> errors = class_errors(TwoGaussians(separation=1.0), bias=0.0)
    >>> round(float(errors.plus), 4), round(float(errors.worst), 4)
    (0.1587, 0.1587)
    """
    b = np.asarray(bias, dtype=np.float64)
    plus = ndtr(-(model.separation + b) / (model.spread_ratio * model.sigma))
    minus = ndtr(-(model.separation - b) / model.sigma)
    average = model.prior_plus * plus + model.prior_minus * minus
    return Errors(plus, minus, average, (plus + minus) / 2, np.maximum(plus, minus))
