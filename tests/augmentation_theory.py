r"""In which sense a perturbation of logits stands for augmentation of features.

The head is linear, :math:`u = Wh + b`. Noise :math:`\xi` on the features moves the logits
by :math:`W\xi`. With :math:`v_c = w_c - w_y`:

- the mean loss under Gaussian noise rises by half a trace, to second order;
- ISDA's loss is the *entropic risk* of that noise, and exceeds the mean loss by half the
  variance of the noisy loss;
- one shift of the own logit matches the mean loss of a class, but not of single samples;
- for two classes, the worst case of a feature within a ball *is* a shift of logits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from lpl_lib.checks import check_batch, check_number
from lpl_lib.variation import rival_score, softplus


def isda_delta(head_weight: Tensor, targets: Tensor, covariance: Tensor) -> Tensor:
    r"""Return ISDA's perturbation for a known noise covariance, ``(B, C)``.

    .. math:: \delta_c = \tfrac12 (w_c - w_y)^\top \Sigma\, (w_c - w_y)

    (:class:`lpl_lib.ISDA` estimates :math:`\Sigma = \lambda\Sigma_y` while training.)
    With this perturbation the loss is exactly :math:`\log \mathbb E e^{\ell(h + \xi, y)}`
    for the noise :math:`\xi \sim N(0, \Sigma)`: the *entropic risk*.

    Args:
        head_weight: :math:`W`, ``(C, A)``, nats per unit of the feature.
        targets: ``(B,)``, integer.
        covariance: :math:`\Sigma`, ``(A, A)``, one for all samples.

    Source: Wang et al. 2019, Eq. 7; that it is an entropic risk: ours.

    >>> isda_delta(torch.tensor([[0.0], [2.0]]), torch.tensor([0]), torch.ones(1, 1))
    tensor([[0., 2.]])
    """
    gaps = head_weight[None] - head_weight[targets.long()][:, None]
    return 0.5 * torch.einsum("bca,ad,bcd->bc", gaps, covariance, gaps)


def noise_rise(logits: Tensor, head_weight: Tensor, covariance: Tensor) -> Tensor:
    r"""Return the rise of the mean loss under small noise, to second order, ``(B,)``.

    .. math:: \mathbb E\,\ell(h + \xi, y) - \ell(h, y)
              = \tfrac12 \mathrm{tr}(W^\top H W \Sigma) + O(\|\Sigma\|^2), \qquad
              H = \mathrm{diag}(p) - pp^\top

    Args:
        logits: ``(B, C)``, in nats. The label plays no role.
        head_weight: ``(C, A)``.
        covariance: ``(A, A)``, of any zero-mean noise that is symmetric.

    Source: ours.

    >>> noise_rise(torch.zeros(1, 2), torch.tensor([[0.0], [2.0]]), torch.ones(1, 1))
    tensor([0.5000])
    """
    p = logits.softmax(1)
    moved = head_weight @ covariance @ head_weight.T
    return 0.5 * (p @ moved.diagonal() - torch.einsum("bc,cd,bd->b", p, moved, p))


def jensen_gap(
    logits: Tensor, targets: Tensor, head_weight: Tensor, covariance: Tensor
) -> Tensor:
    r"""Return ISDA's surplus over the mean noisy loss, to first order in ``covariance``.

    .. math:: \ell_{\mathrm{ISDA}} - \mathbb E\,\ell(h + \xi, y)
              = \tfrac12\, g^\top \Sigma\, g + O(\|\Sigma\|^2), \qquad
              g = W^\top (p - e_y)

    Half the variance of the noisy loss: largest where the gradient is, at hard samples.

    Args:
        logits: ``(B, C)``, in nats.
        targets: ``(B,)``, integer.
        head_weight: ``(C, A)``.
        covariance: ``(A, A)``.

    Source: ours.

    >>> u, y = torch.zeros(1, 2), torch.tensor([0])
    >>> jensen_gap(u, y, torch.tensor([[0.0], [2.0]]), torch.ones(1, 1))
    tensor([0.5000])
    """
    check_batch(logits, targets)
    residual = logits.softmax(1) - torch.nn.functional.one_hot(
        targets.long(), logits.shape[1]
    )
    gradient = residual @ head_weight
    return 0.5 * torch.einsum("ba,ad,bd->b", gradient, covariance, gradient)


def matched_shift(logits: Tensor, targets: Tensor, target_loss: float) -> float:
    r"""Return the gap that gives the samples a wanted mean loss: the only one.

    .. math:: \frac1B \sum_i \log(1 + e^{t - m_i}) = T

    with the log-odds :math:`m_i` of the label. Exactly one :math:`t` in
    :math:`(-\infty, \infty)` solves it, whatever the samples, so on the *mean of a
    class* one shift of the own logit by :math:`-t` can stand for any augmentation.

    Args:
        logits: ``(B, C)``, in nats, C >= 2.
        targets: ``(B,)``, integer.
        target_loss: :math:`T > 0`, in nats.

    Raises:
        ValueError: :math:`T` not positive and finite.

    Source: ours.

    >>> u, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    >>> round(matched_shift(u, y, math.log(3)), 6) == round(math.log(2), 6)
    True
    """
    check_number(target_loss, "target_loss", strict=True)
    scores = rival_score(logits, targets).double()
    equal = math.log(math.expm1(target_loss)) if target_loss < 30 else target_loss
    # Were all samples the hardest, or all the easiest, the answer would be at an end.
    low, high = equal - float(scores.max()), equal - float(scores.min())

    def excess(shift: float) -> float:
        return float(softplus(scores + shift).mean()) - target_loss

    return float(brentq(excess, low - 1, high + 1, xtol=1e-13))


def equivalent_gap(log_odds: float, noise_std: float) -> float:
    r"""Return the gap that stands for noise on one sample of a two-class problem.

    .. math:: \log(1 + e^{g - m}) = \mathbb E \log(1 + e^{-(m + sZ)}), \quad Z \sim N(0, 1)

    It rises with :math:`m`, from 0 (badly wrong) to :math:`s^2/2` (well classified): no
    single gap fits all samples of a class.

    Args:
        log_odds: :math:`m`, in nats.
        noise_std: :math:`s \ge 0`, standard deviation of the log-odds under the noise.

    Source: ours; the expectation is a trapezoidal sum over 4001 points.

    >>> [round(equivalent_gap(m, noise_std=1.0), 3) for m in (-8.0, 0.0, 14.0)]
    [0.0, 0.214, 0.5]
    """
    check_number(noise_std, "noise_std")
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    mean = float(weight @ np.logaddexp(0, -(log_odds + noise_std * z)))
    return math.log(math.expm1(mean)) + log_odds if mean < 30 else mean + log_odds


def adversarial_delta(head_weight: Tensor, targets: Tensor, radius: float) -> Tensor:
    r"""Return the perturbation that bounds the worst move of the features, ``(B, C)``.

    .. math:: \delta_c = \rho\, \|w_c - w_y\|_2, \qquad
              \max_{\|\xi\|_2 \le \rho} \ell(h + \xi, y) \le \ell(u + \delta, y)

    For two classes this is an equality, for every sample: the gap is
    :math:`\rho \|w_1 - w_2\|`. So a class-level bound in a two-class problem *is*
    adversarial training with a radius of its own for each class.

    Args:
        head_weight: ``(C, A)``.
        targets: ``(B,)``, integer.
        radius: :math:`\rho`, in units of the features; a negative radius stands for a
            helper that moves the features for the better (two classes: exact).

    Source: ours; the tie to Xu et al. 2021, who train with one radius for all classes.

    >>> adversarial_delta(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([0]), 0.1)
    tensor([[0.0000, 0.5000]])
    """
    gaps = head_weight[None] - head_weight[targets.long()][:, None]
    return radius * gaps.norm(dim=2)
