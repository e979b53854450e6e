"""What Hugging Face's ``Trainer`` needs: a loss that takes the model's output object."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lpl_lib.checks import BaseLoss
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import Perturbation


class TrainerLoss(nn.Module):
    r"""A perturbed loss in the form that Hugging Face's ``Trainer`` calls.

    .. code-block:: python

        Trainer(..., compute_loss_func=TrainerLoss(LogitAdjustment(class_counts)))

    It takes the logits out of the model's output object, works on their device, and
    weights the batch by its share of the accumulated one, for the mean over all samples:

    .. math:: L = \frac{B}{\text{num\_items\_in\_batch}} \; \overline{\ell}

    In ``Trainer.evaluate`` nothing is perturbed: ``eval_loss`` is the base loss.

    Args:
        perturbation: as for :class:`~lpl_lib.PerturbedLoss`.
        base_loss: as there; a mean over the batch, or ``reduction="sum"``.
        ignore_index: as there.
        model: that is trained. It holds the criterion from then on (``model.criterion``):
            the Trainer saves what the criterion learns (LPL with ``decay``, ISDA).

    Source: the signature is that of ``compute_loss_func`` in transformers 4.46 and newer.

    Raises:
        ValueError: no labels, no logits in the output; accumulated batches of a weighted
            mean; ``label_smoothing_factor``, which the Trainer leaves out where there is a
            ``compute_loss_func``; and what :class:`~lpl_lib.PerturbedLoss` raises.

    >>> output = {"logits": torch.zeros(2, 4)}  # a model's output is such a mapping
    >>> TrainerLoss()(output, torch.tensor([0, 3]), num_items_in_batch=8).item()  # log(4)/4
    0.346...
    """

    def __init__(
        self,
        perturbation: Perturbation | None = None,
        base_loss: BaseLoss | None = None,
        *,
        ignore_index: float | None = None,
        model: nn.Module | None = None,
    ) -> None:
        super().__init__()
        criterion = PerturbedLoss(perturbation, base_loss, ignore_index=ignore_index)
        self.criterion, self._first = criterion, True
        if model is not None:
            model.criterion = criterion
        elif any(getattr(part, "learns", False) for part in criterion.modules()):
            warnings.warn(
                "the Trainer does not save what this perturbation learns in training: "
                "TrainerLoss(..., model=model) keeps it with the model",
                stacklevel=2,
            )

    def forward(
        self,
        outputs: Any,
        labels: Tensor | None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the batch's part of the loss of the accumulated batch, a scalar.

        Args:
            outputs: what the model returned: an object or mapping with ``logits``, a
                tuple that begins with them, or the logits ``(B, C)`` themselves.
            labels: ``(B,)``, integer, or ``(B, C)``, mixed.
            num_items_in_batch: labels in the accumulated batch; ``None``: in this one.
        """
        if labels is None:
            raise ValueError(
                "labels must come with each batch, got None: call the data set's column "
                "of classes 'labels', or set remove_unused_columns=False"
            )
        if self._first:
            self._refuse_smoothing()
        logits = logits_of(outputs)
        self.criterion.to(logits.device)
        loss = self.criterion(logits, labels)
        base = self.criterion.base_loss
        if num_items_in_batch is None or getattr(base, "reduction", "mean") == "sum":
            return loss
        ignored = self.criterion.ignore_index
        counted = labels.numel() if ignored is None else labels.ne(ignored).sum()
        share = counted / num_items_in_batch
        if getattr(base, "weight", None) is not None and abs(float(share) - 1) > 1e-6:
            raise ValueError(
                "base_loss must weigh all samples alike, or have reduction='sum', where "
                f"batches are accumulated, got {base!r}: means weighted within the parts "
                "do not add up to that of the whole"
            )
        return loss * share

    def _refuse_smoothing(self) -> None:
        """Look, in the first step, whether the Trainer was asked to smooth by itself."""
        self._first = False
        callers = (info.frame.f_locals.get("self") for info in inspect.stack(0))
        trainers = [it for it in callers if getattr(it, "compute_loss_func", None) is self]
        if any(getattr(it, "label_smoother", None) for it in trainers):
            raise ValueError(
                "label_smoothing_factor must be 0, the Trainer ignores it beside a "
                "compute_loss_func: base_loss=nn.CrossEntropyLoss(label_smoothing=...)"
            )


def logits_of(outputs: Any) -> Tensor:
    """Return the logits that a framework's output holds.

    >>> logits_of((torch.zeros(1, 2), "hidden states")).shape
    torch.Size([1, 2])
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        logits: Tensor = outputs["logits"]
        return logits
    if isinstance(outputs, tuple) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    held = f" with {list(outputs)}" if isinstance(outputs, Mapping) else ""
    raise ValueError(
        f"outputs must hold 'logits', got {type(outputs).__name__}{held}: use a model "
        "with a classification head, such as AutoModelForSequenceClassification"
    )
