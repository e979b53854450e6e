r"""Where the best linear boundary lies, and where class-level bounds push it.

A class-level perturbation asks class "+" to be classified with the margin
:math:`\varepsilon_+` in the score, and "-" with :math:`\varepsilon_-`. A positive bound
makes the task of its class harder (positive augmentation: the loss of the class is
raised), a negative one makes it easier. What is minimised is the *perturbed risk*

.. math:: \pi_+ \Pr(w^\top x + b < \varepsilon_+ \mid +)
          + \pi_- \Pr(w^\top x + b > -\varepsilon_- \mid -)

over :math:`b` and unit vectors :math:`w`. The best :math:`w` is :math:`\mathbf 1/\sqrt d`
whatever the bounds, so all functions speak of the bias :math:`b` alone. Bounds and
biases are in the units of the score.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from lpl_lib.book.theory.gaussians import Array, TwoGaussians, class_errors


def perturbed_risk(
    model: TwoGaussians,
    bias: float | Array,
    eps_plus: float | Array = 0.0,
    eps_minus: float | Array = 0.0,
) -> Array:
    r"""Return the risk that the perturbed classes give to a bias.

    .. math:: \pi_+ \Phi\!\left(\frac{\varepsilon_+ - m - b}{K\sigma}\right)
              + \pi_- \Phi\!\left(\frac{\varepsilon_- - m + b}{\sigma}\right)

    Args:
        bias: :math:`b`; ``bias`` and both bounds broadcast against each other.
        eps_plus, eps_minus: the bounds, with sign; 0 leaves a class alone.

    >>> float(perturbed_risk(TwoGaussians(separation=1.0), bias=0.0, eps_plus=1.0).round(3))
    0.329
    """
    up = (eps_plus - model.separation - bias) / (model.spread_ratio * model.sigma)
    down = (eps_minus - model.separation + bias) / model.sigma
    return model.prior_plus * ndtr(up) + model.prior_minus * ndtr(down)


def optimal_bias(
    model: TwoGaussians, eps_plus: float | Array = 0.0, eps_minus: float | Array = 0.0
) -> Array:
    r"""Return the bias with the smallest perturbed risk.

    With :math:`m' = m - \frac{\varepsilon_+ + \varepsilon_-}2` and
    :math:`S = \sqrt{m'^2 + \frac{\sigma^2}2 (K^2 - 1) \log(KV)}` it is

    .. math:: b = \frac{\varepsilon_+ - \varepsilon_-}2
              + \frac{(K^2 + 1)\,m' - 2 K S}{K^2 - 1}
              \qquad \left(K = 1:\ \frac{\varepsilon_+ - \varepsilon_-}2
              - \frac{\sigma^2 \log V}{2 m'}\right),

    unless always saying "+" (:math:`b = \infty`) or always "-" (:math:`-\infty`) has a
    smaller risk, or no such stationary point exists; then it is that. For
    :math:`K > 1, V \ge 1`, and for :math:`K = 1, m' > 0`, the formula always wins.

    Args:
        eps_plus, eps_minus: the bounds, with sign, of shapes that broadcast.

    Source: ours; at :math:`V = 1` and no bounds it is the classifier of Xu et al. 2021,
    Theorem 1, where :math:`S` contains their :math:`q(K) = 2 \log K / (K^2 - 1)`.

    >>> model = TwoGaussians(separation=1.0, prior_ratio=np.e)
    >>> float(optimal_bias(model)), float(optimal_bias(model, 0.5, -0.5))
    (-0.5, 0.0)
    """
    ep, en = np.broadcast_arrays(eps_plus, eps_minus)
    k2, variance = model.spread_ratio**2, model.sigma**2
    log_kv = np.log(model.spread_ratio * model.prior_ratio)
    half = model.separation - (ep + en) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(half**2 + variance * (k2 - 1) * log_kv / 2)
        # Two forms of one number: the first is exact also at K = 1, where the second is
        # 0 / 0; the second where the first would divide by a difference near 0.
        above = (half**2 * (k2 - 1) - 2 * k2 * variance * log_kv) / (
            half * (k2 + 1) + 2 * model.spread_ratio * root
        )
        below = (half * (k2 + 1) - 2 * model.spread_ratio * root) / (k2 - 1)
    bias = (ep - en) / 2 + np.where(half > 0, above, below)
    always = -np.inf if model.prior_ratio >= 1 else np.inf
    inside = np.isfinite(bias)
    risk = perturbed_risk(model, np.where(inside, bias, 0.0), ep, en)
    wins = inside & (risk <= min(model.prior_plus, model.prior_minus))
    return np.where(wins, bias, always)


def equal_error_bias(model: TwoGaussians) -> float:
    r"""Return the bias at which both classes have the same error.

    .. math:: b_{eq} = m\,\frac{K - 1}{K + 1}, \qquad
              R_+ = R_- = \Phi\!\left(-\frac{2m}{(K + 1)\sigma}\right)

    It is the boundary with the smallest worst-class error. Source: ours.

    >>> equal_error_bias(TwoGaussians(separation=3.0, spread_ratio=2.0))
    1.0
    """
    return model.separation * (model.spread_ratio - 1) / (model.spread_ratio + 1)


def balanced_bias(model: TwoGaussians) -> float:
    r"""Return the bias with the smallest balanced error: :func:`optimal_bias` at
    :math:`V = 1`. Source: ours.

    >>> balanced_bias(TwoGaussians(separation=1.0, prior_ratio=7.0))
    0.0
    """
    return float(optimal_bias(replace(model, prior_ratio=1.0)))


def break_even_shift(model: TwoGaussians) -> float:
    r"""Return the shift of the optimal bias at which the balanced error is back.

    The bounds :math:`(a, -a)` move :math:`b` by exactly :math:`a`. The balanced error
    falls up to :math:`a = b_{bal} - b^*`; the value returned is the larger
    :math:`a` at which it is again what it was at :math:`a = 0`. For :math:`K = 1` that
    is exactly twice as far, :math:`\sigma^2 \log V / m`; else a root is found.

    Raises:
        ValueError: :math:`K < 1` or :math:`V < 1`; exchange the classes.

    Source: ours.

    >>> round(break_even_shift(TwoGaussians(separation=1.0, prior_ratio=np.e)), 6)
    1.0
    """
    _check_hard_plus(model)
    start = float(optimal_bias(model))
    turn = balanced_bias(model)
    if turn <= start:
        return 0.0
    before = float(class_errors(model, start).balanced)
    far = turn + 50 * (model.separation + model.spread_ratio * model.sigma)
    back = brentq(lambda b: float(class_errors(model, b).balanced) - before, turn, far)
    return float(back) - start


def turning_point(model: TwoGaussians) -> float:
    r"""Return the bound beyond which positive augmentation of "+" backfires.

    With :math:`\varepsilon_- = 0` the bias rises, and the error of "+" falls, as long as
    :math:`\varepsilon_+` is below

    .. math:: \varepsilon_{crit} = 2m - \sigma \sqrt{2 \log(KV)} ;

    beyond, the boundary retreats: the class is given up. At this very point half of the
    class misses the margin asked for, :math:`m + b = \varepsilon_+`, and the error of
    "+" is :math:`\Phi(-\varepsilon_{crit}/(K\sigma))`, the smallest that
    :math:`\varepsilon_+` alone can reach. A value below 0 means that positive
    augmentation backfires from the start, as the class is given up already.

    Raises:
        ValueError: :math:`K < 1` or :math:`V < 1`; exchange the classes.

    Source: ours.

    >>> model = TwoGaussians(separation=2.0, prior_ratio=np.e**2)
    >>> turning_point(model)
    2.0
    """
    _check_hard_plus(model)
    log_kv = np.log(model.spread_ratio * model.prior_ratio)
    return float(2 * model.separation - model.sigma * np.sqrt(2 * log_kv))


def _check_hard_plus(model: TwoGaussians) -> None:
    if model.spread_ratio < 1 or model.prior_ratio < 1:
        raise ValueError(
            "model must have spread_ratio >= 1 and prior_ratio >= 1, got "
            f"{model.spread_ratio} and {model.prior_ratio}: name the wide or rare class +"
        )
