"""The loss of a perturbed multi-label batch: two curves at ``logits + delta``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lpl_lib.multilabel.checks import check_label_batch
from lpl_lib.multilabel.curves import BCE
from lpl_lib.multilabel.perturbations import LabelPerturbation
from lpl_lib.multilabel.rebalancing import Rebalancing
from lpl_lib.perturbations import at_least_float32


class MultiLabelLoss(nn.Module):
    r"""The mean loss of perturbed logits, in the place of ``nn.BCEWithLogitsLoss``.

    .. math:: L = \frac{1}{B K} \sum_{i, k} r_{ik}\,
              \ell(u_{ik} + \delta_{ik},\, t_{ik})

    It perturbs in training mode only, since the perturbation knows the labels: after
    ``criterion.eval()`` it is the base loss of the plain logits.

    Args:
        perturbation: a :class:`~lpl_lib.multilabel.LabelPerturbation`, or several
            joined with ``+``; ``None`` leaves the base loss.
        base_loss: a callable of logits and targets that returns losses ``(B, K)``, such
            as ``BCE()`` (the default), ``Focal()`` or ``Asymmetric()``.
        weights: :class:`~lpl_lib.multilabel.Rebalancing` weights :math:`r`; ``None`` for
            all 1.
        check_values: look at the values of each batch (targets 0 or 1, logits finite).
            ``None``: on the CPU only.

    Soft targets in [0, 1] are allowed as long as neither the perturbation nor the
    weights must know which labels are there. Half-precision logits are raised to
    float32. The model's output is never written to.

    Source: Eq. 7 of Li et al. (arXiv 2209.05668), read label by label.

    Raises:
        ValueError: from the checks of the batch; see
            :func:`~lpl_lib.multilabel.checks.check_label_batch`.

    >>> import torch
    >>> from lpl_lib.multilabel import SigmoidAdjustment
    >>> criterion = MultiLabelLoss(SigmoidAdjustment([10], num_samples=100))
    >>> criterion(torch.zeros(1, 1), torch.ones(1, 1)).item()  # -log 0.1
    2.302...
    """

    def __init__(
        self,
        perturbation: LabelPerturbation | None = None,
        base_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        weights: Rebalancing | None = None,
        check_values: bool | None = None,
    ) -> None:
        super().__init__()
        if perturbation is not None and not isinstance(perturbation, LabelPerturbation):
            raise ValueError(
                "perturbation must be a LabelPerturbation or None, got "
                f"{type(perturbation).__name__}"
            )
        self.perturbation = perturbation
        self.base_loss = BCE() if base_loss is None else base_loss
        self.weights = weights
        self.check_values = check_values

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of logits ``(B, K)`` and targets ``(B, K)``."""
        made_for = self.perturbation.num_labels if self.perturbation else None
        if made_for is None and self.weights is not None:
            made_for = self.weights.num_labels
        soft = self.weights is None and (
            self.perturbation is None or self.perturbation.allows_soft_targets
        )
        check_label_batch(logits, targets, made_for, soft=soft, values=self.check_values)
        logits = at_least_float32(logits)
        targets = targets.to(logits.dtype)
        if self.perturbation is not None and self.training:
            logits = logits + self.perturbation.delta(logits, targets)
        losses = self.base_loss(logits, targets)
        if self.weights is not None:
            if losses.shape != logits.shape:
                raise ValueError(
                    f"base_loss must return losses of shape {tuple(logits.shape)} where "
                    f"weights are given, got {tuple(losses.shape)}: reduction='none'"
                )
            losses = self.weights(targets).to(losses.dtype) * losses
        return losses.mean()
