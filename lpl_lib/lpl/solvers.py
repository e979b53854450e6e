r"""Solvers of LPL's inner problem: the perturbation that moves a class's loss the most.

For the samples :math:`S_c` of each class in the batch,

.. math:: \max \text{ or } \min_{\|\delta_c\| \le \epsilon_c}
          \frac{1}{|S_c|} \sum_{i \in S_c} \ell(u_i + \delta_c, c),

with cross-entropy :math:`\ell`. A solver maps logits ``(B, C)``, targets ``(B,)`` and a
*signed radius* for each sample ``(B,)`` (:math:`+\epsilon_c` to maximise,
:math:`-\epsilon_c` to minimise; equal within a class) to ``delta`` ``(B, C)``, whose rows
are equal within a class. The same :math:`\epsilon` means something else to each solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_count, check_number
from lpl_lib.lpl.groups import ClassGroups


class Solver(Protocol):
    """Maps logits, targets and signed radii to ``delta``; see the module's text."""

    def __call__(
        self, logits: Tensor, targets: Tensor, radius: Tensor, largest: float
    ) -> Tensor:
        """``largest`` bounds ``abs(radius)`` and is known without asking the device."""
        ...


@dataclass(frozen=True)
class LInf:
    r"""Exact solution on the ball of the maximum norm, in closed form.

    .. math:: \delta_c = \pm\epsilon_c (\mathbf 1 - 2 e_c)

    It lowers the class's own logit and raises all others by as much (or the reverse),
    which is optimal for every sample at once: the odds of the label are multiplied by
    :math:`e^{\mp 2 \epsilon_c}`.

    >>> LInf()(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([0.5]), 0.5)
    tensor([[-0.5000,  0.5000,  0.5000]])
    """

    def __call__(
        self, logits: Tensor, targets: Tensor, radius: Tensor, largest: float
    ) -> Tensor:
        column = radius.to(logits.dtype)[:, None]
        return column.repeat(1, logits.shape[1]).scatter(1, targets[:, None], -column)


@dataclass(frozen=True)
class L2:
    r"""Near-exact solution on the Euclidean ball, by a power method from zero.

    .. math:: \delta_c \leftarrow \pm\epsilon_c \, g_c / \|g_c\|_2, \qquad
              g_c = \overline{\mathrm{softmax}(u_i + \delta_c)} - e_c

    Every maximiser, and the one minimiser, is a fixed point. Maximising, each step
    climbs; minimising, a step goes only part of the way (``damping``), since whole
    steps can cycle. Two steps reach over 99% of the optimal change of the loss for
    bounds up to 2.

    ``delta`` sums to zero and has Euclidean norm :math:`\epsilon_c`.

    Args:
        steps: number of steps, >= 1.
        damping: share of the old direction that is kept where the loss is minimised,
            in [0, 1).

    Source: Eq. 8 of Li et al. for the problem; the method is the generalised power
    method (Journée et al. 2010), that is, Frank-Wolfe with unit steps.

    >>> delta = L2()(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1.0]), 1.0)
    >>> delta.round(decimals=3)
    tensor([[-0.8160,  0.4080,  0.4080]])
    """

    steps: int = 2
    damping: float = 0.5

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")
        if not 0 <= self.damping < 1:
            raise ValueError(f"damping must lie in [0, 1), got {self.damping}")

    def __call__(
        self, logits: Tensor, targets: Tensor, radius: Tensor, largest: float
    ) -> Tensor:
        if logits.shape[1] == 1:
            return torch.zeros_like(logits)  # a single class has no rivals
        radius = radius.to(logits.dtype)[:, None]
        keep = torch.where(radius < 0, self.damping, 0.0).to(logits.dtype)
        groups = ClassGroups(targets, logits.shape[1])
        direction = torch.zeros_like(logits)
        for _ in range(self.steps):
            ascent = ascent_direction(logits + radius * direction, targets, groups)
            direction = F.normalize(keep * direction + (1 - keep) * ascent, dim=1)
        return radius * direction


@dataclass(frozen=True)
class Algorithm1:
    r"""The paper's Algorithm 1 as printed: plain gradient steps, neither normalised
    nor projected.

    .. math:: \delta_c \leftarrow \delta_c \pm \alpha \left(
              \overline{\mathrm{softmax}(u_i + \delta_c)} - e_c \right),
              \quad \lfloor \epsilon_c / \alpha \rfloor \text{ times}

    It follows the gradient for a *time* :math:`\epsilon_c`: its effect fades on classes
    that are already learnt, where the gradient is small. The maximum norm of ``delta``
    stays below :math:`\epsilon_c`; ``delta`` sums to zero.

    Args:
        step_size: :math:`\alpha` > 0; 0.01 in the authors' balanced experiments.

    Source: Algorithm 1 of Li et al.

    >>> solver = Algorithm1(step_size=0.5)
    >>> solver(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([-0.5]), 0.5)
    tensor([[ 0.2500, -0.2500]])
    """

    step_size: float = 0.01

    def __post_init__(self) -> None:
        check_number(self.step_size, "step_size", strict=True)

    def __call__(
        self, logits: Tensor, targets: Tensor, radius: Tensor, largest: float
    ) -> Tensor:
        radius = radius.to(logits.dtype)[:, None]
        groups = ClassGroups(targets, logits.shape[1])
        steps = self._steps(radius.abs())
        delta = torch.zeros_like(logits)
        for k in range(int(self._steps(torch.tensor(largest)))):
            rate = torch.where(k < steps, self.step_size * radius.sign(), 0.0)
            delta = delta + rate * class_gradient(logits + delta, targets, groups)
        return delta

    def _steps(self, bound: Tensor) -> Tensor:
        # 0.3 / 0.1 must give 3 steps, also where it is rounded to 2.9999998
        return torch.floor(bound / self.step_size + 1e-4)


SOLVERS: dict[str, Callable[[], Solver]] = {
    "linf": LInf,
    "l2": L2,
    "algorithm1": Algorithm1,
}
"""Solvers by name, as :class:`lpl_lib.LPL` takes them."""


def class_gradient(logits: Tensor, targets: Tensor, groups: ClassGroups) -> Tensor:
    r"""Gradient of the class-mean cross-entropy with respect to a shared shift.

    .. math:: g_c = \overline{\mathrm{softmax}(u_i)} - e_c

    Returned for each sample, ``(B, C)``. The own entry is taken as minus the sum of
    the others, so that it stays exact where the class is learnt almost perfectly.
    """
    own = targets[:, None]
    rivals = logits.softmax(1).scatter(1, own, 0.0)
    mean = groups.mean(rivals)
    return mean.scatter(1, own, -mean.sum(1, keepdim=True))


def ascent_direction(logits: Tensor, targets: Tensor, groups: ClassGroups) -> Tensor:
    r"""Direction of :func:`class_gradient` with Euclidean norm 1, for each sample.

    The gradient is a positive multiple of :math:`\rho_c - e_c`, where :math:`\rho_c` is
    the mean of the rivals' distributions, weighted by the mass :math:`1 - p_c` that
    each sample leaves to its rivals. Written so, nothing underflows, however
    well the class is learnt.
    """
    own = targets[:, None]
    rivals = logits.scatter(1, own, -torch.inf)
    rival_score = rivals.logsumexp(1, keepdim=True)
    rival_share = F.logsigmoid(rival_score - logits.gather(1, own))[:, 0]
    weights = groups.softmax(rival_share)[:, None]
    mean = groups.sum(weights * torch.exp(rivals - rival_score))
    return F.normalize(mean.scatter(1, own, -1.0), dim=1)
