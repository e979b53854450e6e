"""ISDA as a perturbation: implicit semantic augmentation from running covariances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.amp.autocast_mode import is_autocast_available

from lpl_lib.checks import check_number
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.lpl.groups import ClassGroups
from lpl_lib.perturbations import Perturbation


class ISDA(Perturbation):
    r"""Implicit semantic data augmentation: rivals rise with the class's feature spread.

    .. math:: \delta_{y,c} = \tfrac{\lambda}{2} (w_c - w_y)^\top \Sigma_y (w_c - w_y)

    The loss with this perturbation bounds from above the mean loss under Gaussian noise
    :math:`N(0, \lambda \Sigma_y)` on the features. :math:`\delta_{y,y} = 0` and the
    others are not negative, so the loss never falls.

    A hook on the model's last layer keeps the features ``(B, A)`` of the latest forward
    pass, so that the loss is called as any other. :math:`\Sigma_c` is the covariance of
    all features of class ``c`` seen so far, kept in ``state_dict`` and updated in training
    mode only, by the batch of all processes. Gradients reach the head's weight through
    ``delta``; features and covariances are treated as constants there.

    Args:
        head: the model's last layer, ``nn.Linear`` or another module with a ``weight``
            ``(C, A)``, such as ``model.fc``.
        strength: :math:`\lambda` >= 0. The authors raise it linearly to 0.5 during
            training: set ``isda.strength`` at each epoch.
        covariance: ``"full"`` keeps ``C A^2`` numbers, ``"diagonal"`` ``C A``.
        max_bytes: refuse a full covariance larger than this (default 1 GiB).
        process_group: as for :class:`~lpl_lib.LPL`.

    Source: Wang et al. 2019, "Implicit semantic data augmentation for deep networks",
    Eq. 7; Eq. 5-6 of Li et al.

    Raises:
        ValueError: a head without such a weight, or that the model did not use since the
            last step; a covariance beyond ``max_bytes``; a negative strength.

    >>> head = nn.Linear(1, 2, bias=False)
    >>> _ = head.weight.data.copy_(torch.tensor([[0.0], [3.0]]))
    >>> isda = ISDA(head, strength=2.0)
    >>> isda(head(torch.tensor([[-1.0], [1.0]])), torch.tensor([0, 0])).detach().round()
    tensor([[0., 9.],
            [0., 9.]])
    """

    learns = True
    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        head: nn.Module,
        strength: float = 0.5,
        covariance: Literal["full", "diagonal"] = "full",
        max_bytes: int = 1 << 30,
        *,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.process_group = process_group
        weight: Any = getattr(head, "weight", None)
        if not isinstance(head, nn.Module) or getattr(weight, "ndim", 0) != 2:
            raise ValueError(
                "head must be the model's last layer, a module with a weight (C, A) such "
                f"as nn.Linear, got {head!r}"
            )
        # in a tuple: it stays the model's, not a part of the criterion
        self._head = (head,)
        head.register_forward_pre_hook(self._look)
        self._seen: Tensor | None = None
        self._fresh = False
        self.num_classes, self.num_features = weight.shape
        self.strength = check_number(strength, "strength")
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance must be 'full' or 'diagonal', got {covariance!r}")
        self.covariance = covariance
        shape = [self.num_classes] + [self.num_features] * (1 + (covariance == "full"))
        size = 4 * torch.Size(shape).numel()
        if size > max_bytes:
            raise ValueError(
                f"covariance='full' for {self.num_classes} classes and "
                f"{self.num_features} features needs {size / 2**30:.1f} GiB, more than "
                f"max_bytes={max_bytes}: use covariance='diagonal' or raise max_bytes"
            )
        self.register_buffer("count", torch.zeros(self.num_classes))
        self.register_buffer("mean", torch.zeros(self.num_classes, self.num_features))
        self.register_buffer("spread", torch.zeros(shape))

    def _look(self, head: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Keep what the head is given; the hook of a model's forward pass."""
        seen = inputs[0].detach()
        self._seen, self._fresh = seen.flatten(0, max(seen.ndim - 2, 0)), True

    def keep_rows(self, rows: Tensor | None) -> None:
        if rows is not None and self._seen is not None and len(self._seen) == len(rows):
            self._seen = self._seen[rows]

    def __getstate__(self) -> dict[str, Any]:
        # features of a batch are no part of what is copied or saved
        return {**self.__dict__, "_seen": None, "_fresh": False}

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        features = self._features(len(logits))
        # Quadratic forms lose too much in half precision, also under autocast.
        kind = logits.device.type
        known = torch.compiler.is_compiling() or is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if known else nullcontext():
            if self.training:
                seen, labels, _ = whole_batch(features.float(), targets, self.process_group)
                self.update(seen, labels)
            weight: Any = self._head[0].weight
            if hasattr(weight, "full_tensor"):  # sharded; gradients of processes average
                from torch.distributed.tensor import Partial

                weight = weight.full_tensor(grad_placements=[Partial("avg")])
            scale = (0.5 * self.strength) ** 0.5
            return self._quadratic_forms(scale * weight.to(logits.dtype), targets)

    def _features(self, size: int) -> Tensor:
        """The features of this batch; in training each batch must bring its own."""
        features, fresh = self._seen, self._fresh or not self.training
        if features is None or not fresh or features.shape != (size, self.num_features):
            got = "none" if features is None else f"shape {tuple(features.shape)}"
            got = got if fresh else "none since the last step"
            raise ValueError(
                f"head must see the features of each batch, ({size}, {self.num_features}), "
                f"in the model's forward pass, got {got}: is it the layer that the model "
                "uses, and is the loss of this batch computed right after its forward pass?"
            )
        self._fresh = False
        return features

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor) -> None:
        """Merge a batch, features ``(B, A)``, into the running mean and (population)
        covariance, exactly. A sample whose features are not finite is left out."""
        finite = features.sum(1, keepdim=True).isfinite()
        features = torch.where(finite, features, 0.0)
        groups = ClassGroups(targets, self.mean.shape[0])
        classes, size = groups.classes, groups.sum(finite.to(features.dtype))
        mean = groups.sum(features) / size.clamp(min=1)
        gap = mean - self.mean[classes]
        # a row without samples has no share and changes nothing
        share = size / (self.count[classes][:, None] + size).clamp(min=1)
        self.count.index_add_(0, classes, size[:, 0])
        self.mean.index_add_(0, classes, share * gap)
        kept = torch.ones_like(self.count).index_add_(0, classes, -share[:, 0])
        # what is added to the kept share: squares of each sample's part and each mean's
        length = groups.expand((share / size.clamp(min=1)).sqrt())
        inside = (features - groups.expand(mean)) * torch.where(finite, length, 0.0)
        parts = torch.cat([inside, gap * (share * (1 - share)).sqrt()])
        owners = torch.cat([targets, classes])
        self.spread.mul_(kept.view(-1, *[1] * (self.spread.ndim - 1)))
        rows = max(1, (1 << 15) // self.spread[0].numel())  # 128 KiB at a time
        for part, owner in zip(parts.split(rows), owners.split(rows), strict=True):
            square = part[:, :, None] * part[:, None] if self.spread.ndim > 2 else part**2
            self.spread.index_add_(0, owner, square)

    def _quadratic_forms(self, weight: Tensor, targets: Tensor) -> Tensor:
        """``(w_c - w_y)^T Sigma_y (w_c - w_y)`` for each sample and class, ``(B, C)``. No
        look at which classes are present: shapes are static. The full form goes block by
        block, both ways, and holds a few tensors of the logits' size."""
        groups = ClassGroups(targets, len(weight))
        weight = weight - weight.detach().mean(0)  # differences count: keep them precise
        # an index makes a copy: the next batch may change spread before this backward
        classes, spread = groups.classes, self.spread[groups.classes].to(weight.dtype)
        if self.covariance == "full":
            return groups.expand(_FullForms.apply(weight, classes, spread))
        own = weight[classes]
        scaled = spread * own
        forms = spread @ weight.square().T - 2 * scaled @ weight.T
        forms = (forms + (scaled * own).sum(1, keepdim=True)).clamp(min=0)
        return groups.expand(forms.scatter(1, classes[:, None], 0.0))


class _FullForms(torch.autograd.Function):
    """The quadratic forms ``(R, C)`` of classes; backward needs what is given, no more."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return torch.cat([gaps.mul_(along).sum(2) for _, gaps, along in _blocks(*given)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        total = torch.zeros_like(ctx.saved_tensors[0])
        for own, _, along, part in _blocks(*ctx.saved_tensors, grad):
            slope = 2 * part[:, :, None] * along
            total = (total + slope.sum(0)).index_add(0, own, -slope.sum(1))
        return total, None, None


def _blocks(weight: Tensor, *tables: Tensor) -> Iterator[Any]:
    """Blocks: classes, their gaps to all weights, the spread along these, and others."""
    rows = max(1, len(tables[0]) // (4 * weight.shape[1]))
    for own, spread, *others in zip(*(t.split(rows) for t in tables), strict=True):
        gaps = weight - weight[own][:, None]
        yield own, gaps, gaps @ spread, *others
