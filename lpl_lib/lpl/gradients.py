"""Gradients of each class's mean loss with respect to a shift that its samples share."""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import BaseLoss
from lpl_lib.lpl.groups import ClassGroups


def class_gradient(
    logits: Tensor, targets: Tensor, groups: ClassGroups, base_loss: BaseLoss | None = None
) -> Tensor:
    r"""Gradient of each class's mean loss, one row a class of the batch, ``(R, C)``.

    For cross-entropy (``base_loss=None``) in closed form,

    .. math:: g_c = \overline{\mathrm{softmax}(u_i)} - e_c,

    the own entry taken as minus the sum of the others, so that it stays exact where the
    class is learnt almost perfectly. For another loss by automatic differentiation; a
    loss that returns one number is taken to be a mean over the batch, or a sum if its
    ``reduction`` says so.

    >>> groups = ClassGroups(torch.tensor([0]), num_classes=2)
    >>> class_gradient(torch.zeros(1, 2), torch.tensor([0]), groups)
    tensor([[-0.5000,  0.5000]])
    """
    if base_loss is not None:
        return groups.mean(_sample_gradients(logits, targets, base_loss))
    mean = groups.mean(logits.softmax(1).scatter_(1, targets[:, None], 0.0))
    return mean.scatter_(1, groups.classes[:, None], -mean.sum(1, keepdim=True))


def ascent(
    logits: Tensor, targets: Tensor, groups: ClassGroups, base_loss: BaseLoss | None = None
) -> tuple[Tensor, Tensor]:
    r"""Positive multiples of :func:`class_gradient`, ``(R, C)``; their norms, ``(R, 1)``.

    For cross-entropy :math:`\rho_c - e_c`, where :math:`\rho_c` is the mean of the rivals'
    distributions, weighted by the mass :math:`1 - p_c` that each sample leaves to its
    rivals. Where that underflows (float32: a loss below 1e-38), and where there is no
    rival, :math:`-e_c` is left. For another loss of norm 1, or zero.
    """
    if base_loss is None:
        return from_sums(groups.sum(logits.softmax(1)), groups)
    gradient = class_gradient(logits, targets, groups, base_loss)
    return gradient.div_(norms(gradient)), torch.ones_like(gradient[:, :1])


def from_sums(sums: Tensor, groups: ClassGroups) -> tuple[Tensor, Tensor]:
    """Make cross-entropy's :func:`ascent` of summed softmaxes ``(R, C)``, in place."""
    mass = groups.set_own(sums, 0.0).sum(1, keepdim=True)
    mass.clamp_(min=torch.finfo(sums.dtype).tiny)
    groups.set_own(sums.div_(mass), -1.0)
    return sums, torch.linalg.vector_norm(sums, dim=1, keepdim=True)


def norms(table: Tensor) -> Tensor:
    """Return the Euclidean norms of rows, ``(R, 1)``, above 0: zero rows divide to zero."""
    length = torch.linalg.vector_norm(table, dim=1, keepdim=True)
    return length.clamp_(min=torch.finfo(table.dtype).tiny)


def _sample_gradients(logits: Tensor, targets: Tensor, base_loss: BaseLoss) -> Tensor:
    with torch.enable_grad():
        moved = logits.detach().requires_grad_()
        loss = base_loss(moved, targets)
        (gradient,) = torch.autograd.grad(loss.sum(), moved)
    summed = loss.ndim > 0 or getattr(base_loss, "reduction", "mean") == "sum"
    return gradient if summed else gradient * len(logits)
