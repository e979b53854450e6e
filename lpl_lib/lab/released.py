"""LPL by rank as the authors' long-tail scripts run it, each of their choices a switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import BaseLoss, ClassCounts, check_number
from lpl_lib.lpl.bounds import FrequencyBound
from lpl_lib.lpl.groups import ClassGroups
from lpl_lib.lpl.solvers import MOST_STEPS, walk
from lpl_lib.lpl.splits import RankSplit
from lpl_lib.perturbations import Perturbation


class ReleasedWalk(Perturbation):
    r"""A walk of steps of equal length along each class's gradient, for comparison only.

    .. math:: \delta_c \leftarrow \delta_c \pm \alpha \, g_c / \nu_c, \quad
              g_c = \overline{\mathrm{softmax}(u_i + \delta_c)} - e_c

    with the split by rank (Eq. 10) and the bound by frequency (Eq. 14). All classes walk
    to the end; class ``c`` takes its ``delta`` from after
    :math:`\lfloor \varepsilon_c / \alpha \rfloor` steps. As the method is meant,
    :math:`\nu_c = \lVert g_c \rVert_2`, and ``delta`` is inferred, then used. The authors'
    scripts divide by the norm of *column* ``c`` of the table of all gradients, so that it
    matters how far the others have walked, and leave the recording of gradients on:
    back-propagation then runs through the walk, and the net also learns how to change its
    perturbation.

    With ``norms="columns"`` and without ``through`` it is :class:`lpl_lib.LPL` with the
    solver :class:`Released`; that one needs no table of ``C x C``.

    Args:
        class_counts: training images per class, ``(C,)``.
        extra: the largest bound, of the most and the least frequent class; at least 0
            and at most 10,000 steps.
        step_size: :math:`\alpha` > 0.
        norms: ``"rows"``, each gradient by its own length, or ``"columns"``.
        through: whether gradients flow through the walk.

    Source: the authors' repository (github.com/limengyang1992/lpl, commit 9fe33e8).

    >>> walk = ReleasedWalk([90, 10], extra=0.5)
    >>> walk(torch.zeros(2, 2), torch.tensor([0, 1])).round(decimals=2)
    tensor([[ 0.3500, -0.3500],
            [ 0.3500, -0.3500]])
    """

    step: Tensor
    steps: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        extra: float = 0.0,
        step_size: float = 0.25,
        *,
        norms: Literal["rows", "columns"] = "rows",
        through: bool = False,
    ) -> None:
        super().__init__()
        check_number(step_size, "step_size", strict=True)
        signs = RankSplit(class_counts)(None)
        radius = FrequencyBound(class_counts, 0.0, extra)(None, signs)
        steps = torch.floor(radius / step_size + 1e-4)  # 0.3 / 0.1 are 3 steps
        self.most = int(steps.max())
        if self.most > MOST_STEPS:
            raise ValueError(f"extra must be at most {MOST_STEPS} steps, got {extra}")
        self.register_buffer("step", step_size * signs)
        self.register_buffer("steps", steps)
        self.num_classes = len(signs)
        self.norms, self.through = norms, through

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.through and torch.is_grad_enabled()):
            one_hot = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
            means = one_hot.T / one_hot.sum(0).clamp(min=1)[:, None]
            walked = delta = torch.zeros_like(one_hot.T @ one_hot)
            for k in range(self.most):
                gradient = means @ ((logits + walked[targets]).softmax(1) - one_hot)
                along = 1 if self.norms == "rows" else 0
                norm = torch.linalg.vector_norm(gradient, dim=along).clamp(min=1e-12)
                walked = walked + (self.step.to(norm) / norm)[:, None] * gradient
                delta = torch.where(k < self.steps[:, None], walked, delta)
            return delta[targets]


@dataclass(frozen=True)
class Released:
    r"""The step rule of the authors' released code, for comparison only.

    Each step has a length set by :math:`\alpha`, but class ``c``'s gradient is divided
    by the Euclidean norm of *column* ``c`` of the table of all classes' gradients, by how
    much everybody takes other images for ``c``:

    .. math:: \delta_c \leftarrow \delta_c \pm \alpha \, g_c \Big/
              \Bigl( \sum_k g_{k,c}^2 \Bigr)^{1/2}

    All classes of the batch walk to the end of the longest walk, and each takes its
    ``delta`` from after its own :math:`\lfloor \varepsilon_c / \alpha \rfloor` steps. So a
    class's perturbation depends on the others in the batch, and classes that attract
    errors are moved less. Nothing bounds ``delta``. The code's other peculiarities
    (chapter 17) are not part of this rule.

    Args:
        step_size: :math:`\alpha` > 0.

    Source: the authors' repository (github.com/limengyang1992/lpl, commit 9fe33e8), its
    use of ``torch.norm(grad, dim=0)``.

    >>> solver = Released(step_size=0.5)
    >>> solver(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.5]), 0.5)
    tensor([[-0.5000,  0.5000]])
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
        return walk(*batch, radius, largest, self.step_size, _over_columns)


def _over_columns(gradient: Tensor, groups: ClassGroups) -> Tensor:
    """Divide class c's gradient by the Euclidean norm of column c of all gradients."""
    columns = torch.linalg.vector_norm(gradient, dim=0)[groups.classes][:, None]
    return gradient.div_(columns.clamp_(min=torch.finfo(columns.dtype).tiny))
