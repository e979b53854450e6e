"""ISDA as a perturbation: implicit semantic augmentation from running covariances."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lpl_lib.checks import check_count, check_number
from lpl_lib.lpl.distributed import whole_batch
from lpl_lib.perturbations import Perturbation


class ISDA(Perturbation):
    r"""Implicit semantic data augmentation: rivals rise with the class's feature spread.

    .. math:: \delta_{y,c} = \tfrac{\lambda}{2} (w_c - w_y)^\top \Sigma_y (w_c - w_y)

    The loss with this perturbation bounds from above the mean loss under Gaussian noise
    :math:`N(0, \lambda \Sigma_y)` on the features. :math:`\delta_{y,y} = 0` and the
    others are not negative, so the loss never falls.

    :math:`\Sigma_c` is the covariance of all features of class ``c`` seen so far, kept
    in ``state_dict`` and updated in training mode only; with several processes
    (``torch.distributed``) by the batch of all of them. Gradients reach the head's
    weight through ``delta``; features and covariances are treated as constants there.

    Args:
        num_classes: ``C``.
        num_features: ``A``, the width of the last layer's input.
        strength: :math:`\lambda` >= 0. The authors raise it linearly to 0.5 during
            training: set ``isda.strength`` at each epoch.
        covariance: ``"full"`` keeps ``C A^2`` numbers, ``"diagonal"`` ``C A``.
        max_bytes: refuse a full covariance larger than this (default 1 GiB).

    Call the criterion with ``features=`` ``(B, A)`` and ``head_weight=`` ``(C, A)``.

    Source: Wang et al. 2019, "Implicit semantic data augmentation for deep networks",
    Eq. 7; Eq. 5-6 of Li et al.

    Raises:
        ValueError: a covariance beyond ``max_bytes``; features or head weight missing
            or of another shape; a negative strength.

    >>> isda = ISDA(num_classes=2, num_features=1, strength=2.0)
    >>> features = torch.tensor([[-1.0], [1.0], [5.0]])  # variances 1 and 0
    >>> weight = torch.tensor([[0.0], [3.0]])
    >>> logits, targets = features @ weight.T, torch.tensor([0, 0, 1])
    >>> isda(logits, targets, features=features, head_weight=weight)
    tensor([[0., 9.],
            [0., 9.],
            [0., 0.]])
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        strength: float = 0.5,
        covariance: Literal["full", "diagonal"] = "full",
        max_bytes: int = 1 << 30,
    ) -> None:
        super().__init__()
        self.num_classes = check_count(num_classes, "num_classes")
        self.num_features = check_count(num_features, "num_features")
        self.strength = check_number(strength, "strength")
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance must be 'full' or 'diagonal', got {covariance!r}")
        self.covariance = covariance
        shape = [num_classes] + [num_features] * (2 if covariance == "full" else 1)
        size = 4 * torch.Size(shape).numel()
        if size > max_bytes:
            raise ValueError(
                f"covariance='full' for {num_classes} classes and {num_features} "
                f"features needs {size / 2**30:.1f} GiB, more than max_bytes="
                f"{max_bytes}: use covariance='diagonal' or raise max_bytes"
            )
        self.register_buffer("count", torch.zeros(num_classes))
        self.register_buffer("mean", torch.zeros(num_classes, num_features))
        self.register_buffer("spread", torch.zeros(shape))

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        features = self._check(features, "features", len(logits))
        weight = self._check(head_weight, "head_weight", logits.shape[1])
        # Quadratic forms lose too much in half precision, also under autocast.
        with torch.autocast(logits.device.type, enabled=False):
            if self.training:
                seen, labels, _ = whole_batch(features.detach().float(), targets)
                self.update(seen, labels)
            forms = self._quadratic_forms(weight.to(logits.dtype), targets)
        return 0.5 * self.strength * forms

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

    def _check(self, value: Tensor | None, name: str, length: int) -> Tensor:
        shape = (length, self.num_features)
        if value is None or tuple(value.shape) != shape:
            got = "none" if value is None else f"shape {tuple(value.shape)}"
            raise ValueError(
                f"{name} must be given to the criterion with shape {shape}, got {got}: "
                "ISDA needs the last layer's input and weight"
            )
        return value
