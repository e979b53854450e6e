r"""Margins that perturbations ask for, and what is left of them as logits grow.

The setting is binary: labels :math:`t_i = \pm 1`, a linear score
:math:`z_i = w \cdot x_i + b` and the loss :math:`\log(1 + e^{G_i - t_i z_i})`, in which
the *gap* :math:`G_i` is asked for on top of the margin :math:`t_i z_i`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_number


def perturbed_logistic(
    features: Tensor, labels: Tensor, gaps: Tensor | float = 0.0, *, decay: float
) -> Tensor:
    r"""Return the minimiser of the perturbed logistic loss with weight decay.

    .. math:: \min_\theta \sum_i \log\bigl(1 + e^{G_i - t_i\, \theta \cdot x_i}\bigr)
              + \tfrac\lambda2 \|\theta\|_2^2

    The problem is convex; damped Newton steps solve it to machine precision. Its
    solution also minimises the first term over all :math:`\theta` of its norm or less.
    A bias is a feature that is 1.

    Args:
        features: ``(n, d)``, float64.
        labels: ``(n,)``, +1 or -1.
        gaps: :math:`G_i`, in nats, a number or ``(n,)``.
        decay: :math:`\lambda` > 0.

    Returns:
        ``(d,)``, float64.

    Raises:
        ValueError: features of another dtype or shape, labels that are not +1 or -1, a
            decay that is not positive.

    >>> x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    >>> perturbed_logistic(x, torch.tensor([1, -1]), decay=1.0)
    tensor([0.6748], dtype=torch.float64)
    """
    check_number(decay, "decay", strict=True)
    if features.ndim != 2 or features.dtype != torch.float64:
        raise ValueError(
            f"features must be float64 of shape (n, d), got {features.dtype} of shape "
            f"{tuple(features.shape)}"
        )
    if labels.shape != features.shape[:1] or not bool((labels.abs() == 1).all()):
        raise ValueError(f"labels must be +1 or -1, one for each of {len(features)} rows")
    rows = features * labels.to(features.dtype)[:, None]
    gaps = torch.as_tensor(gaps, dtype=features.dtype).expand(len(rows))
    ridge = decay * torch.eye(rows.shape[1], dtype=features.dtype)

    def objective(theta: Tensor) -> Tensor:
        losses = torch.logaddexp(gaps - rows @ theta, torch.zeros_like(gaps))
        return losses.sum() + decay / 2 * theta.square().sum()

    theta = torch.zeros(rows.shape[1], dtype=features.dtype)
    for _ in range(500):
        push = torch.sigmoid(gaps - rows @ theta)
        slope = decay * theta - rows.T @ push
        curvature = ridge + rows.T @ (rows * (push * (1 - push))[:, None])
        way = -torch.linalg.solve(curvature, slope)
        gain = -float(slope @ way)  # twice what a full step should gain
        here, share = objective(theta), 1.0
        while objective(theta + share * way) > here - 1e-4 * share * gain:
            share /= 2
            if share < 1e-9:  # rounding hides what is left to gain
                return theta
        theta = theta + share * way
        if gain < 1e-16 * float(here):  # convergence is quadratic: this was the last
            break
    return theta
