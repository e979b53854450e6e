r"""Logistic regression on the two normal classes, with infinitely many samples.

The model is :math:`f(x) = a\,(w^\top x) + \beta`, and a class-level perturbation moves
the logits by gaps :math:`g_\pm` (in nats; for an :math:`L_\infty` bound
:math:`\varepsilon` on two logits :math:`g = \pm 2\varepsilon`). Minimised over
:math:`(a, \beta)` is the population risk

.. math:: L = \pi_+ \mathbb E_+ \log(1 + e^{g_+ - f})
              + \pi_- \mathbb E_- \log(1 + e^{f + g_-}) .

By symmetry :math:`w = \mathbf 1/\sqrt d` is the best direction here too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from lpl_lib.book.theory.gaussians import Array, TwoGaussians
from lpl_lib.checks import check_number

# A normal variable as 4001 weighted points: the trapezoidal rule is exact to rounding
# for smooth functions times a normal density.
_Z = np.linspace(-10, 10, 4001)
_WEIGHT = np.exp(-(_Z**2) / 2)
_WEIGHT /= _WEIGHT.sum()


class LogisticFit(NamedTuple):
    r"""The solution :math:`f(z) = a z + \beta`, z being the score :math:`w^\top x`.

    Attributes:
        slope: :math:`a > 0`, nats per unit of the score.
        logit_bias: :math:`\beta`, in nats.
    """

    slope: float
    logit_bias: float

    @property
    def bias(self) -> float:
        r""":math:`b = \beta / a`, in the units of the score: for ``class_errors``."""
        return self.logit_bias / self.slope


def logistic_fit(
    model: TwoGaussians, gap_plus: float = 0.0, gap_minus: float = 0.0
) -> LogisticFit:
    r"""Return the population solution of logistic regression with class-level gaps.

    The stationary equations

    .. math:: \pi_+ \mathbb E_+[\sigma(g_+ - f)\,(z, 1)]
              = \pi_- \mathbb E_-[\sigma(f + g_-)\,(z, 1)]

    are solved by minimising the risk by Newton's method, first in a trust region, then
    plain; expectations are sums over 4001 points. The risk is strictly convex, so the
    solution is the only one.

    Args:
        gap_plus, gap_minus: :math:`g_\pm` in nats; positive raises the loss of the class.

    Raises:
        ValueError: a gap that is not finite; a setting in which no solution was found.

    Source: ours; for :math:`K = 1` and no gaps it is Fisher's discriminant,
    :math:`a = 2m/\sigma^2`, :math:`\beta = -\log V`.

    >>> fit = logistic_fit(TwoGaussians(separation=1.0, prior_ratio=np.e))
    >>> round(fit.slope, 6), round(fit.logit_bias, 6)
    (2.0, -1.0)
    """
    for name, gap in (("gap_plus", gap_plus), ("gap_minus", gap_minus)):
        check_number(gap, name, minimum=-math.inf)
    scores = model.sigma * np.stack([model.spread_ratio * _Z, _Z])
    scores += model.separation * np.array([[1.0], [-1.0]])
    signs = np.array([[-1.0], [1.0]])  # of f in the loss of each class
    gaps = np.array([[gap_plus], [gap_minus]])
    weights = np.array([[model.prior_plus], [model.prior_minus]]) * _WEIGHT

    def risk(point: Array) -> float:
        losses = np.logaddexp(0, gaps + signs * (point[0] * scores + point[1]))
        return float((weights * losses).sum())

    def gradient(point: Array) -> Array:
        pull = signs * weights * expit(gaps + signs * (point[0] * scores + point[1]))
        return np.array([(pull * scores).sum(), pull.sum()])

    def hessian(point: Array) -> Array:
        p = expit(gaps + signs * (point[0] * scores + point[1]))
        curve = weights * p * (1 - p)
        first = (curve * scores).sum()
        return np.array([[(curve * scores**2).sum(), first], [first, curve.sum()]])

    # Start at the solution for equal spreads and opposite gaps, and measure the risk in
    # units of the risk there: it is tiny where the classes lie far apart.
    spread = model.sigma * np.sqrt((1 + model.spread_ratio**2) / 2)
    bias = (gap_plus - gap_minus) / 2 - np.log(model.prior_ratio)
    start = np.array([2 * model.separation / spread**2, bias])
    weights /= risk(start)
    options = {"gtol": 1e-6, "maxiter": 500}
    point = minimize(
        risk, start, jac=gradient, hess=hessian, method="trust-exact", options=options
    ).x
    for _ in range(4):  # near the solution each Newton step doubles the correct digits
        step = np.linalg.solve(hessian(point), gradient(point))
        point = point - step
    if not np.abs(step).max() < 1e-6:
        raise ValueError(
            f"no solution was found for {model} with gaps {gap_plus} and {gap_minus}"
        )
    return LogisticFit(float(point[0]), float(point[1]))
