"""LPL whose gradient also flows through its perturbation, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.lpl import L2, LPL, Algorithm1


class AttachedLPL(LPL):
    r"""LPL without Algorithm 2's stop: the net is told how ``delta`` follows its logits.

    The same perturbation as :class:`~lpl_lib.LPL` with the solvers :class:`~lpl_lib.lpl.L2`
    or :class:`~lpl_lib.lpl.Algorithm1`, written without in-place operations. Training
    then follows the gradient of :math:`\ell(u + \delta(u), y)` in :math:`u`; ``LPL``
    takes :math:`\delta` for a constant. At an exact solution the two agree, since the
    loss does not change to first order along the sphere, the only way that
    :math:`\delta` can go (envelope theorem).

    Args:
        as for :class:`~lpl_lib.LPL`; cross-entropy only.

    Source: the authors' released long-tail scripts, which do not detach ``delta``.

    Raises:
        ValueError: another solver, or a base loss.

    >>> u = torch.zeros(1, 2, requires_grad=True)
    >>> AttachedLPL(2, bound=1.0).delta(u, torch.tensor([0])).requires_grad
    True
    """

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        solver, base_loss = self.solver, self._base_loss[0]
        if base_loss is not None or not isinstance(solver, L2 | Algorithm1):
            raise ValueError(
                "solver must be L2 or Algorithm1, with cross-entropy as base loss, got "
                f"{solver!r} and {base_loss!r}"
            )
        with torch.no_grad():
            statistics = self.confidence(logits, targets)
            statistics = statistics._replace(threshold=self.split.threshold)
            signs = self.split(statistics)
            radius = (signs * self.bound(statistics, signs)).to(logits.dtype)[:, None]
        if isinstance(solver, L2):
            return _l2(logits, targets, radius, solver)[targets]
        return _algorithm1(logits, targets, radius, solver)[targets]


def _l2(logits: Tensor, targets: Tensor, radius: Tensor, solver: L2) -> Tensor:
    """The steps of ``L2``: one row a class of the problem, ``(C, C)``."""
    keep = solver.damping * (radius < 0).to(logits.dtype)
    direction = F.normalize(_gradients(logits, targets), eps=1e-12)
    for _ in range(solver.steps - 1):
        moved = logits + (radius * direction)[targets]
        ascent = F.normalize(_gradients(moved, targets), eps=1e-12)
        direction = F.normalize(ascent.lerp(direction, keep.expand_as(ascent)), eps=1e-12)
    return radius * direction


def _algorithm1(
    logits: Tensor, targets: Tensor, radius: Tensor, solver: Algorithm1
) -> Tensor:
    """The steps of ``Algorithm1``, likewise."""
    steps = torch.floor(radius.abs() / solver.step_size + 1e-4)
    delta = logits.new_zeros(len(radius), len(radius))
    for k in range(int(steps.max())):
        move = solver.step_size * radius.sign() * (k < steps)
        delta = delta + move * _gradients(logits + delta[targets], targets)
    return delta


def _gradients(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean gradient of each class's cross-entropy, ``(C, C)``; zero for absent classes."""
    hot = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    size = hot.sum(0).clamp(min=1)[:, None]
    return hot.T @ (logits.softmax(1) - hot) / size
