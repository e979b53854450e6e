r"""A split that is learned: the classes' signs by their effect on a small meta set.

Which class should be augmented which way? Rank and confidence are guesses. Here the signed
bounds :math:`s_c` are chosen so that *one training step with them* lowers the loss of a
small balanced set, the meta set:

.. math:: \min_s\; L_{\text{meta}}\!\left(\hat\theta(s)\right), \qquad
          \hat\theta(s) = \theta - \eta \nabla_\theta \frac1n \sum_i
          \ell\bigl(u_i + s_{y_i} (\mathbf 1 - 2 e_{y_i}),\, y_i\bigr) .

Source: the journal version of Li et al. learns its split with a meta set; neither its
formulas nor its code were available to us. This is our own derivation of the usual
one-step look-ahead (Ren et al. 2018; Shu et al. 2019), with differences of two forward
passes in the place of a second derivative (as Liu et al. 2019 do for architectures).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lpl import LPL, FixedBound, Split
from lpl_lib.lpl.confidence import ClassStatistics
from lpl_lib.perturbations import Perturbation, at_least_float32


class MetaSplit(Split):
    r"""Soft signs that are learned, :math:`\tanh a_c` in (-1, 1), at first 0.

    With :class:`~lpl_lib.FixedBound` they make signed bounds
    :math:`s_c = \varepsilon \tanh a_c`: above 0 the loss of class ``c`` is raised, below 0
    lowered. Something else has to learn them, since the loss of a batch would always have
    them fall: :class:`LookAhead`.

    Args:
        num_classes: ``C``.

    Attributes:
        raw: ``a``, ``(C,)``, a parameter.

    >>> from lpl_lib import LPL
    >>> lpl = LPL(3, bound=2.0, split=MetaSplit(3), solver="linf")
    >>> _ = lpl.split.raw.data.copy_(torch.tensor([-9.0, 0.0, 9.0]))
    >>> lpl.split(None)
    tensor([-1.0000,  0.0000,  1.0000])
    >>> lpl(torch.zeros(1, 3), torch.tensor([2])).round(decimals=3)
    tensor([[ 2.,  2., -2.]])
    """

    uses_confidence = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = check_count(num_classes, "num_classes")
        self.raw = nn.Parameter(torch.zeros(num_classes))

    def forward(self, statistics: ClassStatistics | None) -> Tensor:
        return self.raw.detach().tanh()

    def pull_back(self, hypergradient: Tensor, epsilon: float) -> Tensor:
        r"""Return the gradient in ``a``, :math:`h_c\,\varepsilon\,(1 - \tanh^2 a_c)`, from
        the one in the signed bounds ``s``, both ``(C,)``.

        >>> MetaSplit(2).pull_back(torch.tensor([1.0, -1.0]), epsilon=0.5)
        tensor([ 0.5000, -0.5000])
        """
        slope = 1 - self.raw.detach().tanh().square()
        return hypergradient.to(slope.dtype) * epsilon * slope


def split_hypergradient(
    net: nn.Module,
    perturbation: Perturbation,
    batch: LabelledImages,
    meta: LabelledImages,
    *,
    lr: float,
    gradients: dict[str, Tensor] | None = None,
    reach: float = 0.01,
) -> Tensor:
    r"""Return how the meta loss after one step changes with the signed bounds, ``(C,)``.

    .. math:: h_c = \frac{\partial L_{\text{meta}}(\hat\theta)}{\partial s_c}
              = -\frac{2\eta}{n} \sum_{i \in S_c} p'_{ic}
                \langle \nabla_\theta \ell'_i, v \rangle
              = \frac{2\eta}{n} \sum_{i \in S_c}
                \left.\frac{d}{dr}\, p'_{ic}(\theta + r v)\right|_{r = 0},
              \qquad v = \nabla_\theta L_{\text{meta}}(\hat\theta),

    with :math:`p' = \mathrm{softmax}(u + \delta)`. The derivative along ``v`` is taken as
    a central difference. So it needs the gradient of the training step, a gradient on the
    meta set, and two forward passes on the batch; no derivative of a gradient. A class is
    to be raised (:math:`h_c < 0`) if its gradients agree with that of the meta set.

    Args:
        net: maps images to logits. Its parameters, their gradients and its buffers are
            left as they are. It must be deterministic (no dropout): two passes are
            compared.
        perturbation: of the training logits, at the present ``s``: an
            :class:`~lpl_lib.LPL` with the solver ``"linf"``, whose ``delta`` depends on
            the labels alone, perhaps after a fixed perturbation
            (``LogitAdjustment(counts) + lpl``).
        batch: ``n`` training images.
        meta: the meta set, or a part of it; its loss is the mean cross-entropy of the
            plain logits.
        lr: :math:`\eta` > 0, length of the look-ahead step; momentum and weight decay
            would only scale or shift it.
        gradients: of the training loss by the parameters' names, if they are known
            already; else they are computed.
        reach: how far the parameters are moved along ``v`` to either side, > 0, in
            Euclidean norm. The default is that of Liu et al. 2019.

    Returns:
        ``(C,)``, float32 or more; 0 for classes that are absent from the batch.

    Raises:
        ValueError: ``lr`` or ``reach`` not positive; logits and labels that do not fit.

    >>> from lpl_lib import LPL
    >>> from lpl_lib.lab import digits
    >>> _ = torch.manual_seed(0)
    >>> net, lpl = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), LPL(
    ...     10, bound=1.0, split=MetaSplit(10), solver="linf")
    >>> train, _ = digits()
    >>> batch, meta = (train.subset(part) for part in torch.arange(128).split(64))
    >>> h = split_hypergradient(net, lpl, batch, meta, lr=1.0)
    >>> h.shape, bool(h.abs().max() > 0)
    (torch.Size([10]), True)
    """
    check_number(lr, "lr", strict=True)
    check_number(reach, "reach", strict=True)
    # what is frozen does not take part in the step
    theta = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}

    def logits(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        # batch normalisation writes into its buffers: into these copies
        buffers = {name: b.clone() for name, b in net.named_buffers()}
        return at_least_float32(functional_call(net, (weights, buffers), (images,)))

    def perturbed(weights: dict[str, Tensor]) -> Tensor:
        u = logits(weights, batch.images)
        return u + perturbation(u.detach(), batch.targets)

    if gradients is None:
        gradients = _gradients(
            theta, lambda weights: F.cross_entropy(perturbed(weights), batch.targets)
        )
    ahead = {name: p - lr * gradients[name] for name, p in theta.items()}
    v = _gradients(
        ahead, lambda weights: F.cross_entropy(logits(weights, meta.images), meta.targets)
    )
    length = torch.stack([part.double().square().sum() for part in v.values()]).sum().sqrt()
    r = reach / length.clamp(min=torch.finfo(length.dtype).tiny)
    with torch.no_grad():
        forward, back = (
            perturbed({n: p + (side * r).to(p.dtype) * v[n] for n, p in theta.items()})
            for side in (1.0, -1.0)
        )
    own = batch.targets.long()[:, None]
    slope = forward.softmax(1).gather(1, own) - back.softmax(1).gather(1, own)
    slope = slope[:, 0] / (2 * r).to(slope.dtype)
    total = slope.new_zeros(forward.shape[1]).index_add(0, own[:, 0], slope)
    return 2 * lr / len(batch.targets) * total


class LookAhead:
    r"""Learns a :class:`MetaSplit` meanwhile: a hook of :func:`lpl_lib.lab.training.train`.

    Each step uses the signed bounds as they are, and their hypergradient then moves them
    by a step of Adam. The training gradient serves both, so a step costs a gradient on
    the meta set and two forward passes more than a step of plain training.

    Args:
        lpl: :func:`learned_lpl`, in the criterion; its split is learned.
        meta: a small balanced set. All of it is used in each step.
        meta_lr: step size of Adam on ``a``, > 0.

    Attributes:
        history: soft signs :math:`\tanh a_c` after each step, ``(C,)`` each.
    """

    def __init__(self, lpl: LPL, meta: LabelledImages, meta_lr: float = 0.1) -> None:
        if len(meta.targets) == 0:
            raise ValueError("meta must hold at least one image, got none")
        self.split: Any = lpl.split
        self.epsilon, self.meta = lpl.bound.largest, meta
        step = check_number(meta_lr, "meta_lr", strict=True)
        self.optimiser = torch.optim.Adam(self.split.parameters(), lr=step)
        self.history: list[Tensor] = []

    def __call__(
        self, net: nn.Module, criterion: Any, batch: LabelledImages, lr: float
    ) -> None:
        device = batch.images.device
        meta = LabelledImages(*(part.to(device) for part in self.meta))
        named = net.named_parameters()
        known = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named}
        slope = split_hypergradient(
            net, criterion.perturbation, batch, meta, lr=lr, gradients=known
        )
        self.split.raw.grad = self.split.pull_back(slope, self.epsilon)
        self.optimiser.step()
        self.history.append(self.split(None).cpu())

    def state_dict(self) -> dict[str, Any]:
        """Adam's state, and the history so far."""
        return {"adam": self.optimiser.state_dict(), "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` returned."""
        self.optimiser.load_state_dict(state["adam"])
        self.history = state["history"]


def learned_lpl(num_classes: int, epsilon: float) -> LPL:
    """Return LPL with a :class:`MetaSplit`, bounds up to ``epsilon``."""
    split = MetaSplit(num_classes)
    return LPL(num_classes, FixedBound(epsilon), split=split, solver="linf")


def _gradients(
    weights: dict[str, Tensor], loss: Callable[[dict[str, Tensor]], Tensor]
) -> dict[str, Tensor]:
    """Return the gradient of ``loss(weights)`` by the parameters' names."""
    leaves = {name: p.detach().requires_grad_() for name, p in weights.items()}
    found = torch.autograd.grad(
        loss(leaves), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, found, strict=True))
