r"""Which part of a class-level perturbation the output bias can take over.

If all classes share one vector, :math:`\delta_y = g` up to a constant, the perturbed loss
of :math:`u` is the plain loss of :math:`u + g`. A free bias then moves by :math:`-g`, and
nothing else changes at the optimum: logit adjustment in training is the same shift after
training. Only what is not shared can change the weights.
"""

from __future__ import annotations

from torch import Tensor


def shared_shift(delta: Tensor) -> Tensor:
    r"""Return the shared vector that is nearest to a class-level perturbation, ``(C,)``.

    Only the gaps :math:`\delta_{y,c} - \delta_{y,y}` count. The :math:`g` with mean 0
    that minimises :math:`\sum_{y \ne c} (\delta_{y,c} - \delta_{y,y} - g_c + g_y)^2` is

    .. math:: g_k = \frac1{2C} \Bigl(\sum_y D_{yk} - \sum_c D_{kc}\Bigr), \qquad
              D_{yc} = \delta_{y,c} - \delta_{y,y} .

    The perturbation can be absorbed by a bias exactly if the minimum is 0. For two
    classes with gaps :math:`g_+` (row 0) and :math:`g_-`, :math:`g_0 - g_1` is
    :math:`-(g_+ - g_-)/2`.

    Args:
        delta: ``(C, C)``, floating; row ``y`` is the perturbation of class ``y``, in nats.

    Raises:
        ValueError: not a square matrix.

    Source: ours.

    >>> import torch
    >>> log_prior = torch.tensor([0.5, 0.25, 0.25]).log()
    >>> shared_shift(log_prior.repeat(3, 1)) - (log_prior - log_prior.mean())
    tensor([0., 0., 0.])
    """
    if delta.ndim != 2 or delta.shape[0] != delta.shape[1] or len(delta) == 0:
        raise ValueError(f"delta must have shape (C, C), got {tuple(delta.shape)}")
    gaps = delta - delta.diagonal()[:, None]
    return (gaps.sum(0) - gaps.sum(1)) / (2 * len(delta))


def unshared_gaps(delta: Tensor) -> Tensor:
    r"""Return what a bias cannot absorb, ``(C, C)``: the gaps of ``delta`` less those of
    its :func:`shared_shift`, with a zero diagonal.

    >>> import torch
    >>> unshared_gaps(torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))  # gaps 2 and 0: half each
    tensor([[0., 1.],
            [1., 0.]])
    """
    shift = shared_shift(delta)
    gaps = delta - delta.diagonal()[:, None]
    return gaps - (shift[None, :] - shift[:, None])
