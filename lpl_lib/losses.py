"""The loss of a perturbed batch: the base loss of ``logits + delta``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import BaseLoss, check_batch
from lpl_lib.perturbations import Perturbation, at_least_float32


class PerturbedLoss(nn.Module):
    r"""The base loss of perturbed logits, in the place of ``nn.CrossEntropyLoss``.

    .. math:: L = \ell_{\text{base}}(u + \delta(u, y),\; y)

    It perturbs in training mode only, since the perturbation knows the label: after
    ``criterion.eval()`` it is the base loss of the plain logits, as a model's validation
    asks. (A criterion that is a part of a model follows the model's ``eval()``.)

    Args:
        perturbation: a :class:`~lpl_lib.Perturbation`, or several joined with ``+``;
            ``None`` leaves the base loss.
        base_loss: any callable of logits ``(B, C)`` and integer targets ``(B,)``: a
            ``nn.CrossEntropyLoss`` with label smoothing or class weights, a focal loss,
            your own. Default: ``torch.nn.functional.cross_entropy`` (mean, in nats).
        check_values: look at the values of each batch (labels in range, logits
            finite). ``None``: on the CPU only, since elsewhere the host would have to
            wait for the device.

    Half-precision logits are raised to float32 before they are perturbed.

    Source: Eq. 7 of Li et al. (arXiv 2209.05668).

    Raises:
        ValueError: from the checks of the batch; see :func:`lpl_lib.check_batch`.

    >>> import torch
    >>> from lpl_lib import LogitAdjustment
    >>> criterion = PerturbedLoss(LogitAdjustment([90, 10]))
    >>> criterion(torch.zeros(1, 2), torch.tensor([1])).item()  # -log 0.1
    2.302...
    """

    def __init__(
        self,
        perturbation: Perturbation | None = None,
        base_loss: BaseLoss | None = None,
        check_values: bool | None = None,
    ) -> None:
        super().__init__()
        if perturbation is not None and not isinstance(perturbation, Perturbation):
            raise ValueError(
                "perturbation must be a Perturbation or None, got "
                f"{type(perturbation).__name__}"
            )
        self.perturbation = perturbation
        self.base_loss = F.cross_entropy if base_loss is None else base_loss
        self.check_values = check_values

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, reduced as the base loss does (mean by default).

        Args:
            logits: ``(B, C)``, floating.
            targets: ``(B,)``, integer labels in ``[0, C)``.
            features: ``(B, A)``, the last layer's input, if ISDA takes part.
            head_weight: ``(C, A)``, the last layer's weight, if ISDA takes part.
        """
        known = self.perturbation.num_classes if self.perturbation else None
        check_batch(logits, targets, known, values=self.check_values)
        logits, targets = at_least_float32(logits), targets.long()
        if self.perturbation is not None and self.training:
            logits = logits + self.perturbation.delta(
                logits, targets, features, head_weight
            )
        return self.base_loss(logits, targets)
