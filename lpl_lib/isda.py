"""ISDA as a perturbation: implicit semantic augmentation from running covariances."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lpl_lib.checks import check_number
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.perturbations import Perturbation


class ISDA(Perturbation):
    r"""Implicit semantic data augmentation: rivals rise with the class's feature spread.

    .. math:: \delta_{y,c} = \tfrac{\lambda}{2} (w_c - w_y)^\top \Sigma_y (w_c - w_y)

    The loss with this perturbation bounds from above the mean loss under Gaussian noise
    :math:`N(0, \lambda \Sigma_y)` on the features. :math:`\delta_{y,y} = 0` and the
    others are not negative, so the loss never falls.

    The features ``(B, A)`` are what the model's last layer gets: a hook on it keeps those
    of the latest forward pass, so that the loss is called as any other, in any framework.
    :math:`\Sigma_c` is the covariance of all features of class ``c`` seen so far, kept
    in ``state_dict`` and updated in training mode only; with several processes
    (``torch.distributed``) by the batch of all of them. Gradients reach the head's
    weight through ``delta``; features and covariances are treated as constants there.

    Args:
        head: the model's last layer, ``nn.Linear`` or another module with a ``weight``
            ``(C, A)``, such as ``model.fc``.
        strength: :math:`\lambda` >= 0. The authors raise it linearly to 0.5 during
            training: set ``isda.strength`` at each epoch.
        covariance: ``"full"`` keeps ``C A^2`` numbers, ``"diagonal"`` ``C A``.
        max_bytes: refuse a full covariance larger than this (default 1 GiB).

    Source: Wang et al. 2019, "Implicit semantic data augmentation for deep networks",
    Eq. 7; Eq. 5-6 of Li et al.

    Raises:
        ValueError: a head without such a weight, or that the model did not use since the
            last step; a covariance beyond ``max_bytes``; a negative strength.

    >>> head = nn.Linear(1, 2, bias=False)
    >>> _ = head.weight.data.copy_(torch.tensor([[0.0], [3.0]]))
    >>> isda = ISDA(head, strength=2.0)
    >>> logits = head(torch.tensor([[-1.0], [1.0], [5.0]]))  # variances 1 and 0
    >>> isda(logits, torch.tensor([0, 0, 1])).detach()
    tensor([[0., 9.],
            [0., 9.],
            [0., 0.]])
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        head: nn.Module,
        strength: float = 0.5,
        covariance: Literal["full", "diagonal"] = "full",
        max_bytes: int = 1 << 30,
    ) -> None:
        super().__init__()
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
        self._seen, self._fresh = inputs[0].detach(), True

    def __getstate__(self) -> dict[str, Any]:
        # features of a batch are no part of what is copied or saved
        return {**self.__dict__, "_seen": None, "_fresh": False}

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        features = self._features(len(logits))
        # Quadratic forms lose too much in half precision, also under autocast.
        with torch.autocast(logits.device.type, enabled=False):
            if self.training:
                seen, labels, _ = whole_batch(features.float(), targets)
                self.update(seen, labels)
            weight: Any = self._head[0].weight
            forms = self._quadratic_forms(weight.to(logits.dtype), targets)
        return 0.5 * self.strength * forms

    def _features(self, size: int) -> Tensor:
        """The features of this batch; in training each batch must bring its own."""
        features, fresh = self._seen, self._fresh or not self.training
        if features is None or not fresh or features.shape != (size, self.num_features):
            got = "none since the last step" if not fresh else "none"
            if features is not None and fresh:
                got = f"shape {tuple(features.shape)}"
            raise ValueError(
                f"head must see the features of each batch, ({size}, {self.num_features}), "
                f"in the model's forward pass, got {got}: is it the layer that the model "
                "uses, and is the loss of this batch computed right after its forward pass?"
            )
        self._fresh = False
        return features

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor) -> None:
        """Merge a batch, features ``(B, A)``, into the running mean and covariance.

        The merge is exact: after any split of a set into batches the state is the
        mean and the (population) covariance of the whole set. A sample whose features
        are not finite is left out: it would spoil the statistics for good.
        """
        finite = features.isfinite().all(1)
        features, targets = features[finite], targets[finite]
        for c in targets.unique().tolist():
            batch = features[targets == c]
            batch_mean = batch.mean(0)
            centred = batch - batch_mean
            gap = batch_mean - self.mean[c]
            share = len(batch) / (self.count[c] + len(batch))
            if self.covariance == "full":
                batch_spread = centred.T @ centred / len(batch)
                between = torch.outer(gap, gap)
            else:
                batch_spread = centred.square().mean(0)
                between = gap.square()
            self.spread[c] += share * (batch_spread - self.spread[c])
            self.spread[c] += share * (1 - share) * between
            self.mean[c] += share * gap
            self.count[c] += len(batch)

    def _quadratic_forms(self, weight: Tensor, targets: Tensor) -> Tensor:
        """``(w_c - w_y)^T Sigma_y (w_c - w_y)`` for each sample and class, ``(B, C)``,
        class by class so that no ``B x C x A`` tensor is built."""
        present, row = targets.unique(return_inverse=True)
        rows = []
        for y in present.tolist():
            gaps = weight - weight[y]
            # a copy: the next batch may change the original before this one's backward
            spread = self.spread[y].to(weight.dtype, copy=True)
            scaled = gaps @ spread if self.covariance == "full" else gaps * spread
            rows.append((scaled * gaps).sum(1))
        return torch.stack(rows)[row]
