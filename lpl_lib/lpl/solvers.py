r"""Solvers of LPL's inner problem: the perturbation that moves a class's loss the most.

For the samples :math:`S_c` of each class in the batch,

.. math:: \max \text{ or } \min_{\|\delta_c\| \le \varepsilon_c}
          \frac{1}{|S_c|} \sum_{i \in S_c} \ell(u_i + \delta_c, c),

with :math:`\ell` the cross-entropy or another ``base_loss``. A solver maps logits
``(B, C)``, targets ``(B,)`` and a *signed radius* for each sample ``(B,)``
(:math:`+\varepsilon_c` to maximise, :math:`-\varepsilon_c` to minimise; equal in a class)
to ``delta`` ``(B, C)``, whose rows are equal within a class. The same
:math:`\varepsilon` means something else to each solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lpl_lib.checks import BaseLoss, check_count, check_number
from lpl_lib.lpl.gradients import ascent, class_gradient, from_sums, norms
from lpl_lib.lpl.groups import ClassGroups

MOST_STEPS = 10_000  # of a walk: more would take hours


Solver = Callable[..., Tensor]
"""Maps logits, targets, signed radii, what their sizes do not exceed (known without asking
the device) and perhaps a base loss to ``delta``; see the module's text."""


@dataclass(frozen=True)
class LInf:
    r"""Exact solution on the ball of the maximum norm, in closed form.

    .. math:: \delta_c = \pm\varepsilon_c (\mathbf 1 - 2 e_c)

    It lowers the class's own logit and raises all others by as much (or the reverse),
    which is optimal for every sample at once: the odds of the label are multiplied by
    :math:`e^{\mp 2 \varepsilon_c}`.

    >>> LInf()(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([0.5]), 0.5)
    tensor([[-0.5000,  0.5000,  0.5000]])
    """

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        radius: Tensor,
        largest: float,
        base_loss: BaseLoss | None = None,
    ) -> Tensor:
        self.refuse(base_loss)
        column = radius.to(logits.dtype)[:, None]
        return column.expand_as(logits).scatter(1, targets[:, None], -column)

    def refuse(self, base_loss: BaseLoss | None) -> None:
        """Refuse a base loss other than cross-entropy, ``None``."""
        if base_loss is not None:
            raise ValueError(
                "solver 'linf' is the closed form for cross-entropy; with base_loss="
                f"{base_loss!r} use 'l2' or 'algorithm1'"
            )


@dataclass(frozen=True)
class L2:
    r"""Near-exact solution on the Euclidean ball, by a power method from zero.

    .. math:: \delta_c \leftarrow \pm\varepsilon_c \, g_c / \|g_c\|_2, \qquad
              g_c = \overline{\mathrm{softmax}(u_i + \delta_c)} - e_c

    Every maximiser, and the one minimiser, is a fixed point. Maximising, each step
    climbs; minimising, a step goes only part of the way (``damping``), since whole
    steps can cycle. Two steps reach over 99% of the optimal change of the loss for
    bounds up to 2; more never leave a local maximum, which large bounds can have.

    ``delta`` sums to zero and has Euclidean norm :math:`\varepsilon_c`: for a ``base_loss``
    that is lowest at a finite point (label smoothing), minimising may overshoot it.

    Args:
        steps: number of steps, >= 1.
        damping: share of the old unit vector in the mean with the new one, where the
            loss is minimised; the mean is stretched to length again. In [0, 1).

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
        if not 0 <= check_number(self.damping, "damping", minimum=-math.inf) < 1:
            raise ValueError(f"damping must lie in [0, 1), got {self.damping}")

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        radius: Any,  # signed radii; or a function of own and whole mass (R,)
        largest: float,
        base_loss: BaseLoss | None = None,
    ) -> Tensor:
        groups = ClassGroups(targets, logits.shape[1])
        if callable(radius):  # the softmax of the first step gives the confidences too
            sums = groups.sum(logits.softmax(1))
            radii = radius(groups.own(sums), sums.sum(1))
            table, length = from_sums(sums, groups)
            radii = radii if groups.square else radii.index_select(0, targets)
            radius = radii.unsqueeze(1)
        else:
            table, length = ascent(logits, targets, groups, base_loss)
            radius = groups.common(radius[:, None])
        radius = radius.to(logits.dtype)
        lowered = radius.sign().clamp_(max=0)  # -1 where the loss is, else 0
        share = self.damping / (self.damping - 1)
        for _ in range(self.steps - 1):
            moved = groups.expand(table * (radius / length)).add_(logits)
            new, size = ascent(moved, targets, groups, base_loss)
            # a multiple of the mean of both unit vectors
            table = new.addcmul_(table, lowered * (size / length), value=share)
            length = norms(table)
        return groups.expand(table.mul_(radius / length))


@dataclass(frozen=True)
class Algorithm1:
    r"""The paper's Algorithm 1 as printed: plain gradient steps, neither normalised
    nor projected.

    .. math:: \delta_c \leftarrow \delta_c \pm \alpha \left(
              \overline{\mathrm{softmax}(u_i + \delta_c)} - e_c \right),
              \quad \lfloor \varepsilon_c / \alpha \rfloor \text{ times}

    It follows the gradient for a *time* :math:`\varepsilon_c`: its effect fades on classes
    that are already learnt, where the gradient is small. The maximum norm of ``delta``
    stays below :math:`\varepsilon_c`; ``delta`` sums to zero.

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
        self,
        logits: Tensor,
        targets: Tensor,
        radius: Tensor,
        largest: float,
        base_loss: BaseLoss | None = None,
    ) -> Tensor:
        batch = logits, targets, base_loss
        return walk(*batch, radius, largest, self.step_size, lambda gradient, _: gradient)


SOLVERS: dict[str, Callable[[], Solver]] = {
    "linf": LInf,
    "l2": L2,
    "algorithm1": Algorithm1,
}
"""Solvers by name, as :class:`lpl_lib.LPL` takes them."""


def walk(
    logits: Tensor,
    targets: Tensor,
    base_loss: BaseLoss | None,
    radius: Tensor,
    largest: float,
    step_size: float,
    scaled: Callable[[Tensor, ClassGroups], Tensor],
) -> Tensor:
    """Return ``delta`` after ``floor(abs(radius) / step_size)`` steps for each class,
    each along the class's gradient, ``scaled`` first. All classes walk to the end, since
    ``scaled`` may look at all, and each stands where its own steps had brought it."""
    groups = ClassGroups(targets, logits.shape[1])
    radius = groups.common(radius.to(logits.dtype)[:, None])
    # 0.3 / 0.1 must give 3 steps, also where it is rounded to 2.9999998
    steps = torch.floor(radius.abs() / step_size + 1e-4)
    signed = step_size * radius.sign()
    walked = delta = logits.new_zeros(groups.size, logits.shape[1])
    most = math.floor(largest / step_size + 1e-4)
    if most > MOST_STEPS:
        limit = (
            f"step_size must reach the bound {largest:g} in at most {MOST_STEPS:,} steps"
        )
        raise ValueError(f"{limit}, got {step_size:g}")
    for k in range(most):
        moved = groups.expand(walked).add_(logits)
        gradient = class_gradient(moved, targets, groups, base_loss)
        walked = walked.addcmul(signed, scaled(gradient, groups))
        delta = torch.where(k < steps, walked, delta)
    return groups.expand(delta)
